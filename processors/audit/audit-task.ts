/**
 * One task of a stage as the audit sees it: the events of its sampled entities and the outputs that wait to be compared. An output is
 * compared once all inputs of the task were read up to the position at which it was computed. Pure; called by the audit only.
 */
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { type AuditedEvent, type AuditedOutput, originOf, type Verdict } from './audited-output.ts'
import { type ComparedStage, compareOutput, type EntityHistory, eventMissing } from './compare-output.ts'
import { createOracle, type OracleEvent, type OracleSortKey } from './oracle.ts'

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
}

export interface AuditTask {
  readonly pending: readonly AuditedOutput[]
  add(key: string, event: AuditedEvent): void
  push(output: AuditedOutput): void
  /**
   * Compares the outputs that were fetched before this round and whose inputs have been read; `null` is an output of an entity outside the
   * sample.
   */
  compareReady(beforeRound: number): Array<Verdict | null>
  readonly forgottenBefore: number
  /** Drops the events that count, and were known, before `time`; skipped where that is hardly later than the last time. */
  forget(time: number): void
}

interface AuditTaskState extends AuditTaskOptions, ComparedStage {
  /** Events by the key of their entity. */
  readonly events: Map<string, AuditedEvent[]>
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
    compareReady: (beforeRound) => compareReady(state, beforeRound),
    get forgottenBefore() {
      return state.forgottenBefore
    },
    forget: (time) => forget(state, time),
  }
}

function addEvent({ events, keys, plan }: AuditTaskState, key: string, event: AuditedEvent): void {
  const known = events.get(key)
  if (known) known.push(event)
  else events.set(key, [event])
  if (event.stream === plan.scored.index) keys.set(originOf(event), key)
}

function compareReady(state: AuditTaskState, beforeRound: number): Array<Verdict | null> {
  const isReady = ({ round, position }: AuditedOutput) =>
    round < beforeRound && state.inputs.every(({ next }, i) => !(next < position.next[i]!))
  const ready = state.pending.filter(isReady)
  state.pending = state.pending.filter((output) => !isReady(output))
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

function historyOf(state: AuditTaskState, { key, sortKey, position }: AuditedOutput): EntityHistory {
  const keyOfEntity = key ?? state.keys.get(originOf(sortKey))
  const events = keyOfEntity === undefined ? [] : (state.events.get(keyOfEntity) ?? [])
  const read = events.filter(({ input, at }) => at < position.next[input]!).sort(byArrival)
  const accepted = withoutRejected(state, read)
  const isOwn = (event: AuditedEvent) => originOf(event) === originOf(sortKey) && event.stream === sortKey.stream
  return { read, accepted, own: accepted.filter(isOwn) }
}

/** Of the records of one attempt the first were rejected, as many as there are dead letters: a later one is then a duplicate. */
function withoutRejected({ rejections }: AuditTaskState, list: readonly AuditedEvent[]): AuditedEvent[] {
  const left = new Map<string, number>()
  return list.filter((event) => {
    const name = `${event.stream} ${originOf(event)} ${event.attempt}`
    const rejected = left.get(name) ?? rejections(event)
    left.set(name, Math.max(0, rejected - 1))
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
  const atFields = new Map(stage.entity.layout.sources.map(({ stream, atField }) => [stream, atField]))
  for (const [key, list] of events) {
    const [kept, gone]: [AuditedEvent[], AuditedEvent[]] = [[], []]
    for (const event of list) {
      const countsAt = event.event[atFields.get(event.stream) ?? ''] as number | undefined
      const isGone = event.time < time && (countsAt ?? event.time) < time
      ;(isGone ? gone : kept).push(event)
    }
    for (const event of gone) if (event.stream === plan.scored.index) keys.delete(originOf(event))
    if (kept.length === 0) events.delete(key)
    else if (gone.length > 0) events.set(key, kept)
  }
}

function byArrival(a: OracleEvent, b: OracleEvent): number {
  return a.input - b.input || a.at - b.at
}
