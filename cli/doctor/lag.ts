/** How far the group is behind its topics: committed positions and ends of logs in, a check a stage out; called by `doctor`. */
import { committedPosition } from '../../processors/recovery/committed-position.ts'
import type { CommittedOffset } from '../../runtime/broker.ts'
import type { StagePlan } from '../../schemas/plan/plan.ts'
import { sharedNames } from '../context.ts'
import { shown } from '../terminal.ts'
import { type Check, type Examination, fail, ok, warn } from './check.ts'
import { forEachStage, type InputOffsets, taskInputs } from './stages.ts'
import type { Subject } from './subject.ts'

const waitedWarnMs = 60_000
const partitionsNamedMax = 8

export function lagExamination(subject: Subject): Examination {
  return { name: 'lag', examine: () => forEachStage(subject, 'lag', (stage, name) => stageLag(subject, stage, name)) }
}

async function stageLag(subject: Subject, stage: StagePlan, name: string): Promise<Check> {
  const inputsByTask = await taskInputs(subject, stage)
  const { broker } = await subject.kafka.needed()
  const { group } = sharedNames(subject.config, await subject.plan.needed())
  const lags = lagOf(stage, inputsByTask, await broker.groups.committedOffsets(group, inputsByTask.flat()))
  const isRunning = (await broker.groups.describe(group)).state !== 'empty'
  return lagCheck(name, lags, { isRunning, waitedMs: await waitedMs(subject, lags), definition: subject.definition })
}

export interface TaskLag {
  readonly partition: number
  /** Offsets that have not been read, transaction markers included. */
  readonly unread: number
  /** Upper bound of the events that are read and held until they are in order. */
  readonly held: number
  /** The first unread offset of each input that has any. */
  readonly from: ReadonlyArray<{ readonly topic: string; readonly partition: number; readonly offset: number }>
  /** Offsets that retention removed before they were processed. */
  readonly lost: number
}

/** `committed`: in the order of all inputs. */
export function lagOf(
  stage: StagePlan,
  inputsByTask: ReadonlyArray<readonly InputOffsets[]>,
  committed: readonly CommittedOffset[],
): TaskLag[] {
  let at = 0
  return inputsByTask.map((inputs, partition) => {
    const offsets = committed.slice(at, at + inputs.length)
    at += inputs.length
    const position = committedPosition(stage.entity.name, partition, offsets)
    const lag = { unread: 0, held: 0, lost: 0 }
    const from: Array<TaskLag['from'][number]> = []
    inputs.forEach(({ topic, start, end }, i) => {
      const { resumeOffset, nextOffset } = position?.inputs[i] ?? { resumeOffset: start, nextOffset: start }
      lag.unread += Math.max(0, end - Math.max(start, nextOffset))
      lag.held += nextOffset - resumeOffset
      lag.lost += Math.max(0, start - resumeOffset)
      if (end > nextOffset) from.push({ topic, partition, offset: Math.max(start, nextOffset) })
    })
    return { partition, ...lag, from }
  })
}

/** Age of the oldest unread record; null where there is none. */
async function waitedMs({ kafka, clock }: Subject, lags: readonly TaskLag[]): Promise<number | null> {
  const from = lags.flatMap((lag) => lag.from)
  if (from.length === 0) return null
  const { broker } = await kafka.needed()
  const fetcher = await broker.data.fetcher()
  try {
    const fetched = await fetcher.fetch(from, { maxWaitMs: 100, partitionBytesMax: 4_096 })
    const first = fetched.flatMap(({ records }) => (records.length > 0 ? [records.at(0)] : []))
    // Behind the last record there may be markers of transactions only.
    if (first.length === 0) return null
    return Math.max(0, clock.nowMs() - Math.min(...first.map(({ appendedAtMs }) => appendedAtMs)))
  } finally {
    await fetcher.close()
  }
}

export function lagCheck(
  name: string,
  lags: readonly TaskLag[],
  seen: { readonly isRunning: boolean; readonly waitedMs: number | null; readonly definition: string },
): Check {
  const sum = (of: 'unread' | 'held' | 'lost') => lags.reduce((total, lag) => total + lag[of], 0)
  const [unread, held, lost] = [sum('unread'), sum('held'), sum('lost')]
  const tasks = lags.length === 1 ? '1 partition' : `${lags.length} partitions`
  if (lost > 0) {
    const named = lags.filter((lag) => lag.lost > 0).map(({ partition }) => partition)
    return fail(
      name,
      `retention has removed ${shown(lost)} offsets before they were read, in partitions ${named.join(', ')}.`,
      `Start with --rebuild: millrace run ${seen.definition} --rebuild`,
    )
  }
  const holding = held === 0 ? '' : `, at most ${shown(held)} held until they are in order`
  if (unread === 0 || seen.waitedMs === null) return ok(name, `nothing unread in ${tasks}${holding}.`)
  const worst = lags
    .filter((lag) => lag.unread > 0)
    .sort((a, b) => b.unread - a.unread)
    .slice(0, partitionsNamedMax)
    .map((lag) => `${lag.partition}: ${shown(lag.unread)}`)
  const message =
    `${shown(unread)} unread in ${tasks} (${worst.join(', ')}), the oldest for ` +
    `${shown(Math.round(seen.waitedMs / 1_000))} s${holding}.`
  if (!seen.isRunning) return warn(name, message, `Start a process: millrace run ${seen.definition}`)
  if (seen.waitedMs <= waitedWarnMs) return ok(name, message)
  return warn(name, message, 'More processes share the partitions: start another, or see the log of those that run.')
}
