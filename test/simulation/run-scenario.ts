/** Runs the scenario of a seed and returns what was violated. The same seed gives the same run, call by call. */
import { createHash } from 'node:crypto'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { describeFaults } from '../../testing/fault-schedule.ts'
import { bitsOf, createPipelineRunner, type PipelineRunner } from '../../testing/index.ts'
import { clicksStartMs } from '../support/clicks.ts'
import { expectedFacts, expiredDeadLetters, locationName, replayedBits, scoredIds, validateLog } from './expected.ts'
import { watchPositions } from './positions.ts'
import { drawScenario, type Scenario, type Sent } from './scenario.ts'

export interface Outcome {
  readonly seed: number
  /** Empty where all is as it must be. */
  readonly violations: readonly string[]
  readonly events: number
  /** The schedule and all that happened; empty unless traced. */
  readonly trace: readonly string[]
  /** SHA-256 of the trace and of all that was committed; empty unless traced. */
  readonly hash: string
}

const violationsMax = 5
const startMs = clicksStartMs + 30 * 3_600_000

export async function runScenario(seed: number, { isTraced = false } = {}): Promise<Outcome> {
  const scenario = drawScenario(seed)
  const violations: string[] = []
  const trace: string[] = isTraced ? describe(scenario) : []
  const { pipeline, plan, partitions, limits, faults } = scenario
  const runner = await createPipelineRunner({ pipeline, plan, partitions, startMs })
  const violated = (what: string) => {
    if (violations.length < violationsMax) violations.push(what)
    if (isTraced) trace.push(`${runner.clock.elapsedMs()} VIOLATION ${what}`)
  }
  const record = (who: string, what: string) => void trace.push(`${runner.clock.elapsedMs()} ${who}: ${what}`)
  try {
    if (scenario.order === 'disorder') await produce(runner, scenario.sent)
    const during = scenario.order === 'disorder' ? Promise.resolve() : produce(runner, scenario.sent)
    const observer = { ...watchPositions(plan, violated), ...(isTraced ? { trace: record } : {}) }
    await runner.run({ faults, limits, during, observer })
    // A store that was lost while idle is noticed when the tasks are opened next.
    await runner.run({ limits, observer })
    await compare(runner, scenario, violated)
  } catch (error) {
    violated(`the run failed: ${(error as Error).stack ?? error}`)
  }
  const events = scenario.sent.reduce((sum, chunk) => sum + chunk.events.length, 0)
  const hash = isTraced ? await hashOf(runner, trace) : ''
  // The broker's and the clock's last timers are cancelled.
  await nextTurn()
  return { seed, violations, events, trace, hash }
}

async function produce(runner: PipelineRunner, sent: readonly Sent[]): Promise<void> {
  for (const { afterMs, events, garbage, isTwice } of sent) {
    await runner.clock.sleep(afterMs)
    if (garbage !== null) await runner.sendRaw('clicks', garbage, 'no event at all')
    await runner.sendAll(events)
    if (isTwice) await runner.sendAll(events)
  }
}

async function compare(runner: PipelineRunner, scenario: Scenario, violated: (what: string) => void): Promise<void> {
  const { plan } = runner
  const { partitions, order } = scenario
  const deadLetters = await runner.rejections()
  const validated = await validateLog(runner)
  const expired = order === 'late' ? expiredDeadLetters(validated, plan, deadLetters) : []
  const predictions = await runner.predictions()
  const ids = predictions.map(({ id }) => id).sort()
  const expectedIds = scoredIds(validated, plan).filter(
    (id) => ids.includes(id) || !expired.some((one) => one.id === id),
  )
  for (const id of difference(expectedIds, ids)) violated(`${id} was never predicted`)
  for (const id of difference(ids, expectedIds)) violated(`${id} was predicted once too often`)

  const rejections = deadLetters
    .filter((deadLetter) => !expired.some((one) => one.deadLetter === deadLetter))
    .map(({ topic, partition, offset }) => locationName(topic, partition, offset))
  for (const location of difference(validated.rejected, rejections))
    violated(`the record at ${location} was not rejected`)
  for (const location of difference(rejections, validated.rejected))
    violated(`the record at ${location} was rejected once too often`)

  if (order !== 'late') {
    const bits = replayedBits(validated, plan, partitions)
    for (const { id, features } of predictions) {
      if (bitsOf(features) !== bits.get(id)) violated(`the vector of ${id} is ${features}, not that of the replay`)
    }
  }

  await compareEnds(runner, partitions, violated)
  // What an expired event left in the stages before the one that rejected it is useless, and may remain for a while.
  if (expired.length > 0) return
  const facts = await runner.facts()
  const expected = await expectedFacts(validated, plan, partitions, runner.store)
  for (const key of new Set([...Object.keys(facts), ...Object.keys(expected)])) {
    if (facts[key] !== expected[key])
      violated(`the store holds ${rowsOf(facts[key])} of ${key}, expected ${rowsOf(expected[key])}`)
  }
}

/** At rest the store is at Kafka's committed position. */
async function compareEnds(
  runner: PipelineRunner,
  partitions: number,
  violated: (what: string) => void,
): Promise<void> {
  const { plan, broker, store } = runner
  for (const stage of plan.stages) {
    const topic = stage.rawStreams.length > 0 ? plan.streams[stage.rawStreams[0]!]!.topic : stage.repartitionIn!.topic
    for (let partition = 0; partition < partitions; partition++) {
      const { position } = await store.inspect(stage.entity.name, partition)
      const [committed] = await broker.groups.committedOffsets('workers', [{ topic, partition }])
      if ((position ?? '') !== committed!.metadata)
        violated(`${stage.entity.name} ${partition} is stored at ${position} and committed at ${committed!.metadata}`)
    }
  }
}

function rowsOf(hex: string | undefined): string {
  return hex === undefined ? 'nothing' : `${hex.length / 16} values (…${hex.slice(-64)})`
}

/** What is in `a` more often than in `b`. */
function difference(a: readonly string[], b: readonly string[]): string[] {
  const left = new Map<string, number>()
  for (const item of b) left.set(item, (left.get(item) ?? 0) + 1)
  return a.filter((item) => {
    const count = left.get(item) ?? 0
    left.set(item, count - 1)
    return count <= 0
  })
}

function describe({ seed, order, stages, partitions, sent, limits, faults }: Scenario): string[] {
  const events = sent.reduce((sum, chunk) => sum + chunk.events.length, 0)
  return [
    `seed ${seed}: ${events} events, ${order}, ${stages} stages, ${partitions} partitions`,
    `limits: ${Object.entries(limits)
      .map(([name, value]) => `${name} ${value}`)
      .join(', ')}`,
    ...describeFaults(faults),
    ...sent.flatMap(({ afterMs, events, isTwice, garbage }) => [
      `sent after ${afterMs} ms${isTwice ? ', twice' : ''}${garbage === null ? '' : `, behind garbage to ${garbage}`}:`,
      ...events.map(({ stream, values }) => `  ${stream} ${JSON.stringify(values)}`),
    ]),
  ]
}

async function hashOf(runner: PipelineRunner, trace: readonly string[]): Promise<string> {
  const hash = createHash('sha256')
  for (const line of trace) hash.update(line)
  for (const { topic } of runner.plan.topics) {
    for (const { offset, value } of (await runner.records(topic)).flat()) hash.update(`${offset}`).update(value ?? '')
  }
  return hash.digest('hex')
}
