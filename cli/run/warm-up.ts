/**
 * A plan in, nothing out: the real worker processes generated events in memory, so that the code of a process is compiled before its first
 * event. Of the process it uses the plan and the processor alone: no topic, store, metric or log line is touched, but a warning where the
 * warm-up fails. Called by `live-process.ts` while it waits for the group and opens its tasks.
 */
import { drawnScorer } from '../../online-model/models/drawn-scorer.ts'
import { createRandom } from '../../online-model/models/random.ts'
import { generatedEvents } from '../../processors/in-process/generated-events.ts'
import { type InProcessRun, openInProcessRun } from '../../processors/in-process/in-process-run.ts'
import type { Clock } from '../../runtime/clock.ts'
import type { Log } from '../../runtime/log.ts'
import { needsRegistry } from '../../runtime/memory/schema-registry.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { createPredictionCodec } from '../../schemas/wire/prediction-codec.ts'
import { createWriterSchemas } from '../../schemas/wire/writer-schemas.ts'

export interface WarmUpOptions {
  readonly plan: Plan
  /** A start that has its tasks sooner goes without: the events that then wait compile the same code with less work. */
  readonly afterMs: number
  /** Of all of it, from its beginning; 0: there is none. */
  readonly maxMs: number
  readonly clock: Clock
  readonly log: Log
}

export interface WarmUp {
  /** Ends it within about a slice. Resolves once it is over, with the number of events; never rejects. The same promise each time. */
  end(): Promise<number>
}

const seed = 1
const reasonsMax = 3
/** By then all is compiled that generated events can compile. */
const eventsMax = 30_000
/** Few where a function of the user's takes long: `compile` has called each thousands of times by then. */
const sliceEventsMin = 16
/** About how long a slice takes: what waits for servers goes on in between, and the end waits for a slice. */
const sliceMs = 20

interface WarmUpState {
  readonly options: WarmUpOptions
  readonly beganMs: number
  /** Resolves when the time is over. */
  readonly over: Promise<void>
  isEnded: boolean
}

export function startWarmUp(options: WarmUpOptions): WarmUp {
  const { afterMs, maxMs, clock } = options
  if (maxMs === 0) return { end: async () => 0 }
  let state: WarmUpState | null = null
  let isEnded = false
  let done = Promise.resolve(0)
  void clock.sleep(afterMs).then(() => {
    if (isEnded) return
    state = { options, beganMs: clock.elapsedMs(), over: clock.sleep(maxMs), isEnded }
    done = warmUp(state)
  })
  return {
    end() {
      isEnded = true
      if (state !== null) state.isEnded = true
      return done
    },
  }
}

async function warmUp(state: WarmUpState): Promise<number> {
  const { options } = state
  try {
    const plan = withoutRegistry(options.plan)
    // V8 compiles code for the only closure of its kind, and again once there is a second one: with a second run there is.
    const first = await work(state, openRun(plan, options), sliceEventsMin)
    return first + (await work(state, openRun(plan, options), eventsMax))
  } catch (error) {
    // A definition that generated events do not suit must still start; what is wrong with it shows on real events.
    const reason = error instanceof Error ? error.message : String(error)
    options.log.warn({}, `The warm-up ended early, and the first events will take longer: ${reason}`)
    return 0
  }
}

function openRun(plan: Plan, { clock }: WarmUpOptions): InProcessRun {
  const random = createRandom(seed)
  const { events, untilMs } = generatedEvents(plan, random)
  const scorer = drawnScorer(plan, random, reasonsMax)
  return openInProcessRun({
    plan,
    events,
    currentModel: () => scorer,
    mayHold: true,
    // No event is dated ahead of it.
    clock: { ...clock, nowMs: () => untilMs },
  })
}

/** Slice by slice until it is ended, or the next would take too long. Resolves with the number of events. */
async function work(state: WarmUpState, run: InProcessRun, atMost: number): Promise<number> {
  const { maxMs, clock } = state.options
  let events = 0
  let slice = sliceEventsMin
  try {
    for (let tookMs = 0; events < atMost && !state.isEnded; ) {
      const beganMs = clock.elapsedMs()
      if (beganMs - state.beganMs + tookMs > maxMs) break
      run.prepare(slice)
      await Promise.race([run.letIn(), state.over])
      events += slice
      const sliceTookMs = Math.max(clock.elapsedMs() - beganMs, 1)
      const next = Math.max(sliceEventsMin, Math.floor(slice * Math.min(4, sliceMs / sliceTookMs)))
      tookMs = (sliceTookMs * next) / slice
      slice = next
    }
  } finally {
    await run.stop()
  }
  return events
}

/** Ids of a registry are known once the real worker is open: the same records as single objects take the same code. */
function withoutRegistry(plan: Plan): Plan {
  if (!needsRegistry(plan.schemas.writers)) return plan
  const { topic } = plan.predictions
  const features = plan.features.map(({ name }) => name)
  const own = {
    namespace: 'millrace.warm_up',
    topic,
    features,
    format: 'avro',
    writers: createWriterSchemas(),
  } as const
  return { ...plan, predictions: { topic, codec: createPredictionCodec(own) } }
}
