/**
 * Zero skew, checked from outside: what a pipeline sent on is computed again from the records of the stages' inputs, by the oracle, at the
 * recorded positions, and compared bit for bit. Called by `millrace audit`, which follows a running pipeline, and by tests and simulations
 * with `auditLogs`, after the run. Pure: records go in, verdicts come out.
 *
 * Every stage is checked by its own outputs: a repartition record carries the slots that the stage read and those that it was given, a
 * prediction the whole vector. Each is recomputed from the inputs of its task, so all of them together show that a vector follows from the
 * raw events. Entities are sampled stage by stage: each with its whole history.
 *
 * What must be read, and how far, follows from the outputs (`wanted`): inputs are read up to the recorded positions and no further, and
 * facts are forgotten once no output can need them, so memory is that of the sampled entities' facts of about two retentions.
 */
import type { FetchedPartition, FetchFrom, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import { recordsOf as columnsOf } from '../../runtime/records.ts'
import type { AuditedPartition } from './audit-partition.ts'
import {
  type AuditCounts,
  type AuditedStage,
  type AuditOptions,
  type AuditState,
  countSkipped,
  createAuditState,
  partitionAt,
  partitionsAt,
} from './audit-state.ts'
import type { Difference, Verdict } from './audited-output.ts'
import { readFetched } from './read-records.ts'

export interface Audit {
  readonly counts: Readonly<AuditCounts>
  /** Outputs that wait for their inputs to be read. */
  readonly pending: number
  /** What to read next; hand all of it to `accept`. Without `outputs`: only what the outputs need that were read. */
  wanted(options?: { readonly outputs: boolean }): FetchFrom[]
  /** First offset of a partition that was not read. */
  nextOf(at: TopicPartition): number
  /** `round` counts fetches up. */
  accept(fetched: FetchedPartition, round: number): void
  /**
   * Compares the outputs that were fetched before this round. A transaction becomes readable partition by partition: wait a moment for its
   * dead letters before its outputs are compared. About `outputsMax` are: the caller's thread is busy for so long.
   */
  compareOutputs(beforeRound?: number, outputsMax?: number): Difference[]
}

/** Above this no more outputs of a stage are read: its inputs are read first. */
const pendingMax = 20_000
/** Below this dead letters are not searched for those that may be forgotten. */
const deadLettersMin = 10_000

export function createAudit(options: AuditOptions): Audit {
  const state = createAuditState(options)
  return {
    counts: state.counts,
    get pending() {
      return state.stages.reduce((sum, stage) => sum + pendingOf(stage), 0)
    },
    wanted: ({ outputs } = { outputs: true }) => wanted(state, outputs),
    nextOf: (at) => partitionAt(state, at).next,
    accept: (fetched, round) => readFetched(state, fetched, round),
    compareOutputs: (beforeRound = Number.POSITIVE_INFINITY, outputsMax = Number.POSITIVE_INFINITY) =>
      compareOutputs(state, beforeRound, outputsMax),
  }
}

function pendingOf({ tasks }: AuditedStage): number {
  return tasks.reduce((sum, { pending }) => sum + pending.length, 0)
}

function wanted(state: AuditState, isReadingOutputs: boolean): FetchFrom[] {
  const found = new Set<AuditedPartition>(partitionsAt(state, state.plan.rejected.topic))
  for (const stage of state.stages) {
    if (!stage.isAudited) continue
    if (isReadingOutputs && pendingOf(stage) <= pendingMax) for (const output of wantedOutputs(stage)) found.add(output)
    for (const input of wantedInputs(state, stage)) found.add(input)
  }
  return [...found].map(({ topic, partition, next }) => ({ topic, partition, offset: next }))
}

/** No partition is read far ahead of the others: what those will need must not be forgotten yet. */
function wantedOutputs({ outputs, keepMs }: AuditedStage): AuditedPartition[] {
  const behind = Math.min(...outputs.filter(({ isAtEnd }) => !isAtEnd).map(({ latest }) => latest))
  return outputs.filter(({ latest }) => !(latest > behind + keepMs / 4))
}

/** Up to the positions of the outputs that wait. */
function wantedInputs(state: AuditState, { tasks, inputs }: AuditedStage): AuditedPartition[] {
  return tasks.flatMap(({ pending }, partition) =>
    inputs
      .map(({ topic }) => partitionAt(state, { topic, partition }))
      .filter(({ next }, i) => pending.some(({ position }) => position.next[i]! > next)),
  )
}

function compareOutputs(state: AuditState, beforeRound: number, outputsMax: number): Difference[] {
  const differences: Difference[] = []
  const tasksCount = state.stages.reduce((sum, { tasks }) => sum + tasks.length, 0)
  for (const { tasks, stage } of state.stages) {
    for (const task of tasks) {
      // All of them go on together: what the slowest needs is kept for all.
      for (const verdict of task.compareReady(beforeRound, Math.ceil(outputsMax / tasksCount))) {
        if (verdict) countVerdict(state, verdict, stage.repartitionOut === null)
        if (verdict?.kind === 'differing') differences.push(...verdict.differences)
      }
    }
  }
  for (const stage of state.stages) forgetEvents(stage)
  forgetDeadLetters(state)
  return differences
}

function countVerdict(state: AuditState, verdict: Verdict, isPrediction: boolean): void {
  if (verdict.kind === 'skipped') {
    countSkipped(state, verdict.reason)
    return
  }
  state.counts.checked++
  if (isPrediction) state.counts.predictions++
  if (verdict.kind === 'differing') state.counts.differing++
}

/** No output needs records older than two retentions before the slowest one: an event and those that it may repeat. */
function forgetEvents({ tasks, outputs, keepMs }: AuditedStage): void {
  const slow = outputs.filter(({ isAtEnd }) => !isAtEnd)
  const reached =
    slow.length > 0 ? Math.min(...slow.map(({ latest }) => latest)) : Math.max(...outputs.map(({ latest }) => latest))
  const waiting = tasks.flatMap(({ pending }) => pending.map(({ sortKey }) => sortKey.time))
  const before = waiting.reduce((least, time) => Math.min(least, time), reached) - keepMs
  for (const task of tasks) task.forget(before)
}

function forgetDeadLetters({ deadLetters, stages }: AuditState): void {
  if (deadLetters.size < deadLettersMin) return
  const before = Math.min(...stages.flatMap(({ tasks }) => tasks.map(({ forgottenBefore }) => forgottenBefore)))
  for (const [name, { time }] of deadLetters) if (time < before) deadLetters.delete(name)
}

export interface LogsAudit {
  readonly counts: AuditCounts
  readonly differences: readonly Difference[]
  /** Outputs whose recorded position is beyond the records. */
  readonly pending: number
}

/**
 * The whole audit of a run that is over: `recordsOf` returns the committed records of every partition of a topic, raw, repartition,
 * predictions and rejected topics alike, from offset 0 on.
 */
export function auditLogs(
  options: AuditOptions,
  recordsOf: (topic: string) => ReadonlyArray<readonly LogRecord[]>,
): LogsAudit {
  const { plan, partitionsOf } = options
  const audit = createAudit(options)
  for (const { topic, role } of plan.topics) {
    if (role === 'models' || role === 'schemas' || role === 'raw schemas') continue
    const lists = recordsOf(topic)
    for (let partition = 0; partition < partitionsOf(topic); partition++) {
      const records = columnsOf(lists[partition] ?? [])
      // Only transaction markers follow the last record: everything has been read.
      const next = Number.POSITIVE_INFINITY
      const from = options.startOf?.({ topic, partition }) ?? 0
      audit.accept({ topic, partition, from, records, next, stableEnd: next, end: next, age: 0 }, 0)
    }
  }
  const differences = audit.compareOutputs()
  return { counts: audit.counts, differences, pending: audit.pending }
}
