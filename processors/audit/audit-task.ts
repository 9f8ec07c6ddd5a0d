/**
 * One task of a stage as the audit sees it: the events of its sampled entities and the outputs that wait to be compared. An output is
 * compared once all inputs of the task were read up to the position at which it was computed. Pure; called by the audit only.
 */
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { type AuditedEvent, type AuditedOutput, originOf, type Verdict } from './audited-output.ts'
import { type ComparedStage, compareOutput, type EntityHistory, eventMissing } from './compare-output.ts'
import { createOracle, type OracleSortKey } from './oracle.ts'

/** What a task needs to know of its inputs' partitions. */
export interface AuditedInput {
  /** First offset not read yet. */
  readonly next: number
  /** Event time up to which there may be events that were never read; −infinity where all were. */
  readonly unreadUntil: number
  /** No event before this offset is later; may be somewhat more than the latest. */
  latestBefore(offset: number): number
}

export interface AuditTaskOptions {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly inputs: readonly AuditedInput[]
  /** Index of the stage's input that contains the events of a stream. */
  readonly inputOf: (stream: number) => number
  /** Dead letters of the stage for this raw event. */
  readonly rejections: (event: AuditedEvent) => number
  /** Null: the version is not known. */
  readonly scoreOf: ComparedStage['scoreOf']
  /** All entities are audited, so that an output without an event is an error. */
  readonly isWhole: boolean
  /** No output depends on events that count, and were known, so long before it. */
  readonly keepMs: number
}

export interface AuditTask {
  readonly pending: readonly AuditedOutput[]
  add(key: string, event: AuditedEvent): void
  push(output: AuditedOutput): void
  /**
   * Compares at most so many of the outputs that were fetched before this round and whose inputs have been read; `null` is an output of an
   * entity outside the sample.
   */
  compareReady(beforeRound: number, outputsMax: number): Array<Verdict | null>
  readonly forgottenBefore: number
  /** Drops the events that count, and were known, before `time`; skipped where that is hardly later than the last time. */
  forget(time: number): void
}

interface AuditTaskState extends AuditTaskOptions, ComparedStage {
  /** Events by the key of their entity: of each input in the order of its offsets. */
  readonly events: Map<string, AuditedEvent[][]>
  /** By stream: the field that dates its facts. */
  readonly atFields: ReadonlyMap<number, string>
  /** Keys of the entities of scored events, by origin. */
  readonly keys: Map<string, string>
  pending: AuditedOutput[]
  forgottenBefore: number
}

export function createAuditTask(options: AuditTaskOptions): AuditTask {
  const state: AuditTaskState = {
    ...options,
    oracle: createOracle(options.stage),
    events: new Map(),
    atFields: new Map(options.stage.entity.layout.sources.map(({ stream, atField }) => [stream, atField])),
    keys: new Map(),
    pending: [],
    forgottenBefore: Number.NEGATIVE_INFINITY,
  }
  return {
    get pending() {
      return state.pending
    },
    add: (key, event) => addEvent(state, key, event),
    push: (output) => void state.pending.push(output),
    compareReady: (beforeRound, outputsMax) => compareReady(state, beforeRound, outputsMax),
    get forgottenBefore() {
      return state.forgottenBefore
    },
    forget: (time) => forget(state, time),
  }
}

function addEvent({ events, keys, plan, inputs }: AuditTaskState, key: string, event: AuditedEvent): void {
  const lists = events.get(key) ?? inputs.map(() => [])
  lists[event.input]!.push(event)
  events.set(key, lists)
  if (event.stream === plan.scored.index) keys.set(originOf(event), key)
}

function compareReady(state: AuditTaskState, beforeRound: number, outputsMax: number): Array<Verdict | null> {
  const ready: AuditedOutput[] = []
  const waiting: AuditedOutput[] = []
  for (const output of state.pending) {
    const { round, position } = output
    const isReady =
      ready.length < outputsMax &&
      round < beforeRound &&
      state.inputs.every(({ next }, i) => !(next < position.next[i]!))
    ;(isReady ? ready : waiting).push(output)
  }
  state.pending = waiting
  return ready.map((output) => verdictOf(state, output))
}

function verdictOf(state: AuditTaskState, output: AuditedOutput): Verdict | null {
  const { plan, inputs, isWhole } = state
  const { sortKey, position, prediction } = output
  const isForeign = prediction !== null && prediction.fingerprint !== plan.fingerprint
  if (isForeign || position.next.length !== inputs.length) return { kind: 'skipped', reason: 'other_definition' }
  const history = historyOf(state, output)
  if (history.own.length === 0) {
    if (sortKey.time <= unreadUntil(state, plan.scored.index)) return { kind: 'skipped', reason: 'before_read' }
    return isWhole || output.key !== null ? eventMissing(state, output) : null
  }
  if (reachesUnread(state, sortKey)) return { kind: 'skipped', reason: 'before_read' }
  const latestOf = () => Math.max(...inputs.map((input, i) => input.latestBefore(position.next[i]!)))
  return compareOutput(state, output, history, latestOf)
}

/** Of the entity's events only those that the output may depend on: its whole history would be looked through for each of its outputs. */
function historyOf(state: AuditTaskState, { key, sortKey, position }: AuditedOutput): EntityHistory {
  const keyOfEntity = key ?? state.keys.get(originOf(sortKey))
  const lists = keyOfEntity === undefined ? [] : (state.events.get(keyOfEntity) ?? [])
  const before = sortKey.time - state.keepMs
  const read = lists.flatMap((list, input) =>
    list.slice(0, countBefore(list, position.next[input]!)).filter((event) => !isGone(state, event, before)),
  )
  const accepted = withoutRejected(state, read)
  const isOwn = ({ stream, partition, offset }: AuditedEvent) =>
    offset === sortKey.offset && partition === sortKey.partition && stream === sortKey.stream
  return { read, accepted, own: accepted.filter(isOwn) }
}

/** How many of the events, in the order of their offsets, lie before this one. */
function countBefore(list: readonly AuditedEvent[], next: number): number {
  let [low, high] = [0, list.length]
  while (low < high) {
    const middle = (low + high) >> 1
    if (list[middle]!.at < next) low = middle + 1
    else high = middle
  }
  return low
}

/** Of the records of one attempt the first were rejected, as many as there are dead letters: a later one is then a duplicate. */
function withoutRejected({ rejections }: AuditTaskState, list: readonly AuditedEvent[]): AuditedEvent[] {
  const left = new Map<string, number>()
  return list.filter((event) => {
    const rejected = left.get(event.deadLetter) ?? rejections(event)
    if (rejected > 0) left.set(event.deadLetter, rejected - 1)
    return rejected === 0
  })
}

function unreadUntil({ inputs, inputOf, forgottenBefore }: AuditTaskState, stream: number): number {
  return Math.max(forgottenBefore, inputs[inputOf(stream)]!.unreadUntil)
}

function reachesUnread(state: AuditTaskState, { time }: OracleSortKey): boolean {
  return state.stage.entity.slots.some(
    ({ stream, lagMs, overMs }) => time - lagMs - overMs < unreadUntil(state, stream),
  )
}

function forget(state: AuditTaskState, time: number): void {
  const { events, keys, plan, stage } = state
  if (!(time > state.forgottenBefore + stage.entity.retentionMs / 16)) return
  state.forgottenBefore = time
  for (const [key, lists] of events) {
    const kept = lists.map((list) => {
      const gone = list.filter((event) => isGone(state, event, time))
      for (const event of gone) if (event.stream === plan.scored.index) keys.delete(originOf(event))
      return gone.length > 0 ? list.filter((event) => !isGone(state, event, time)) : list
    })
    if (kept.every((list) => list.length === 0)) events.delete(key)
    else events.set(key, kept)
  }
}

/** It counts, and was known, before `time`. */
function isGone({ atFields }: AuditTaskState, { stream, time: known, event }: AuditedEvent, time: number): boolean {
  if (known >= time) return false
  const atField = atFields.get(stream)
  return atField === undefined || (event[atField] as number) < time
}
