/**
 * Zero skew, checked from outside: what a pipeline sent on is computed again from the records of the stages' inputs, by the oracle, at the
 * recorded positions, and compared bit for bit. Called by `millrace audit`, which follows a running pipeline, and by tests and simulations
 * with `auditLogs`, when all is over. Pure: records go in, verdicts come out.
 *
 * Every stage is judged by its own outputs: a repartition record carries the slots that the stage read and those that it was given, a
 * prediction the whole vector. Each is recomputed from the inputs of its task, so all of them together show that a vector follows from the
 * raw events. Entities are sampled stage by stage: each with its whole history.
 *
 * What must be read, and how far, follows from the outputs (`wanted`): inputs are read up to the recorded positions and no further, and
 * facts are forgotten once no output can ask for them, so memory is that of the sampled entities' facts of about two retentions.
 */
import type { FetchedPartition, FetchFrom, LogRecord, TopicPartition } from '../../runtime/broker.ts'
import { partitionOf } from '../../runtime/partition.ts'
import type { Plan, StagePlan, StreamPlan } from '../../schemas/plan/plan.ts'
import { attemptOf } from '../../schemas/wire/dead-letter.ts'
import type { DeadLetter, RepartitionEvent } from '../../schemas/wire/records.ts'
import { stageInputs } from '../stage-inputs.ts'
import { type AuditedPartition, createAuditedPartition } from './audit-partition.ts'
import { createAuditTask, type Difference, type SkipReason, type Verdict } from './audit-task.ts'

export interface AuditOptions {
  readonly plan: Plan
  readonly partitionsOf: (topic: string) => number
  /** Share of the entities of each stage, 0 to 1. */
  readonly sample: number
  /** Score of a model version; null where it is not known. */
  readonly scoreOf: (version: string) => ((vector: ArrayLike<number>) => number) | null
  /** First offset that is read of a partition; 0 unless told. What lay before it is not known. */
  readonly startOf?: (at: TopicPartition) => number
}

export interface AuditCounts {
  /** Outputs judged: repartition records of sampled entities, and predictions. */
  checked: number
  /** Predictions among them. */
  predictions: number
  differing: number
  readonly skipped: Partial<Record<SkipReason, number>>
}

export interface Audit {
  readonly counts: Readonly<AuditCounts>
  /** Outputs that wait for their inputs to be read. */
  readonly pending: number
  /** What to read next; everything that it names is to be handed to `accept`. Without `outputs`: only what those need that were read. */
  wanted(options?: { readonly outputs: boolean }): FetchFrom[]
  /** First offset of a partition that was not read. */
  nextOf(at: TopicPartition): number
  /** `round` counts fetches up. */
  accept(fetched: FetchedPartition, round: number): void
  /**
   * Judges the outputs that came before this fetch. A transaction becomes readable partition by partition: give its dead letters a moment
   * before its outputs are judged.
   */
  validateRecord(beforeRound?: number): Difference[]
}

/** More outputs of a stage than this do not wait: its inputs are read first. */
const pendingMax = 20_000

export function createAudit(options: AuditOptions): Audit {
  const { plan, partitionsOf, sample, startOf = () => 0 } = options
  const counts: AuditCounts = { checked: 0, predictions: 0, differing: 0, skipped: {} }
  const times = {
    aheadMs: Math.max(...plan.streams.map(({ aheadMs }) => aheadMs)),
    // As coarse as a late event may be: nothing depends on finer times.
    stepMs: Math.max(1_000, plan.scored.latenessMs / 16),
  }
  const partitions = new Map<string, AuditedPartition>()
  const stages = plan.stages.map((stage) => openStage(stage))
  const deadLetters = new Map<string, { readonly time: number; count: number }>()

  function partition(topic: string, number: number): AuditedPartition {
    const name = `${topic} ${number}`
    const known = partitions.get(name)
    if (known) return known
    const at = { topic, partition: number }
    const opened = createAuditedPartition(at, startOf(at), times)
    partitions.set(name, opened)
    return opened
  }

  function all(topic: string): AuditedPartition[] {
    return Array.from({ length: partitionsOf(topic) }, (_, number) => partition(topic, number))
  }

  function openStage(stage: StagePlan) {
    const inputs = stageInputs(plan, stage)
    const streamsOf = inputs.map(({ stream }) => (stream ? [stream.index] : stage.repartitionIn!.streams))
    const isLast = stage.repartitionOut === null
    return {
      stage,
      // A stage that only carries events on computes nothing.
      isAudited: isLast || stage.entity.slots.length > 0,
      outputs: all(stage.repartitionOut?.topic ?? plan.predictions.topic),
      keepMs: 2 * stage.entity.retentionMs + Math.max(...plan.streams.map(({ latenessMs }) => latenessMs)),
      tasks: Array.from({ length: partitionsOf(inputs[0]!.topic) }, (_, number) =>
        createAuditTask({
          plan,
          stage,
          inputs: inputs.map(({ topic }) => partition(topic, number)),
          inputOf: (stream) => streamsOf.findIndex((streams) => streams.includes(stream)),
          rejections: ({ stream, partition, offset, attempt }) =>
            deadLetters.get(deadLetterName(stage, plan.streams[stream]!, { partition, offset, attempt }))?.count ?? 0,
          scoreOf: options.scoreOf,
          isWhole: sample >= 1,
        }),
      ),
    }
  }

  function wanted({ outputs: isReading } = { outputs: true }): FetchFrom[] {
    const names = new Set<AuditedPartition>(all(plan.rejected.topic))
    for (const { stage, isAudited, outputs, tasks, keepMs } of stages) {
      if (!isAudited) continue
      const waiting = tasks.reduce((sum, { pending }) => sum + pending.length, 0)
      // No partition runs far ahead of the others: what they will ask for must still be there.
      const behind = Math.min(...outputs.filter(({ isAtEnd }) => !isAtEnd).map(({ latest }) => latest))
      for (const output of outputs) {
        if (isReading && waiting <= pendingMax && !(output.latest > behind + keepMs / 4)) names.add(output)
      }
      const inputs = stageInputs(plan, stage)
      tasks.forEach(({ pending }, number) => {
        inputs.forEach(({ topic }, i) => {
          const input = partition(topic, number)
          if (pending.some(({ position }) => position.next[i]! > input.next)) names.add(input)
        })
      })
    }
    return [...names].map(({ topic, partition: number, next }) => ({ topic, partition: number, offset: next }))
  }

  function accept(fetched: FetchedPartition, round: number): void {
    const { topic, records } = fetched
    const at = partition(topic, fetched.partition)
    if (fetched.from !== at.next) return
    const repartitionInto = plan.stages.find(({ repartitionIn }) => repartitionIn?.topic === topic)
    const stream = plan.streams.find((candidate) => candidate.topic === topic)
    for (const record of records) {
      at.read(record)
      if (repartitionInto) readRepartition(at, repartitionInto, record, round)
      else if (stream) readRaw(at, stream, record)
      else if (topic === plan.predictions.topic) readPrediction(at, record, round)
      else if (topic === plan.rejected.topic) readDeadLetter(record)
    }
    at.reached(fetched)
  }

  function readRaw(at: AuditedPartition, stream: StreamPlan, record: LogRecord): void {
    const decoded = stream.codec.decode(record.value)
    if (!decoded.ok || stream.entersAt === null) return
    const origin = { partition: at.partition, offset: record.offset }
    add(at, plan.stages[stream.entersAt]!, { stream: stream.index, origin, event: decoded.event, slots: [] }, 0, record)
  }

  function readRepartition(at: AuditedPartition, into: StagePlan, record: LogRecord, round: number): void {
    const decoded = into.repartitionIn!.codec.decode(record.value!)
    if (decoded.kind === 'watermark') return
    const { stream, event, origin, slots, positions } = decoded
    add(at, into, decoded, decoded.source, record)
    const position = positions.at(-1)
    if (stream !== plan.scored.index || !position) return
    const sender = stages[into.index - 1]!
    const keyField = sender.stage.entity.keyFields.get(stream)
    const key = keyField === undefined ? null : (event[keyField] as string)
    if (!sender.isAudited || key === null || !isSampled(sender.stage, key)) return
    const place = { time: event[plan.scored.timeField] as number, stream, ...origin }
    const id = event[plan.scored.idField] as string
    const repartition = { plan: into.repartitionIn!, slots }
    sender.tasks[position.partition]?.push({ id, place, position, round, key, repartition, prediction: null })
  }

  function add(
    at: AuditedPartition,
    stage: StagePlan,
    { stream: index, origin, event, slots }: Pick<RepartitionEvent, 'stream' | 'origin' | 'event' | 'slots'>,
    source: number,
    record: LogRecord,
  ): void {
    const stream = plan.streams[index]!
    const time = event[stream.timeField] as number
    at.sawTime(record.offset, time)
    const keyField = stage.entity.keyFields.get(index)
    const key = keyField === undefined ? null : (event[keyField] as string)
    if (key === null || !stages[stage.index]!.isAudited || !isSampled(stage, key)) return
    if (index !== plan.scored.index && !stage.entity.layout.sources.some((leaves) => leaves.stream === index)) return
    const input = stageInputs(plan, stage).findIndex(({ topic }) => topic === at.topic)
    const id = String(event[stream.idField])
    const attempt = attemptOf(record.headers)
    const where = { stream: index, time, ...origin, id, input, at: record.offset }
    stages[stage.index]!.tasks[at.partition]!.add(key, { ...where, source, event, slots, attempt })
  }

  function readPrediction(at: AuditedPartition, record: LogRecord, round: number): void {
    const prediction = plan.predictions.codec.decode(record.value!)
    const { id, time, origin, positions } = prediction
    at.sawTime(record.offset, time)
    const last = stages.at(-1)!
    const position = positions.find(({ stage }) => stage === last.stage.entity.name)
    const task = position && last.tasks[position.partition]
    const place = { time, stream: plan.scored.index, ...origin }
    if (task) task.push({ id, place, position, round, key: null, repartition: null, prediction })
    else skip('other_definition')
  }

  /** An event that cannot be read is none for the audit either, so that its letter tells nothing. */
  function readDeadLetter(record: LogRecord): void {
    const deadLetter = plan.rejected.codec.decode(record.value!)
    const stage = plan.stages.find(({ entity }) => entity.name === deadLetter.stage)
    const stream = plan.streams.find(({ topic }) => topic === deadLetter.topic)
    const keyField = stage && stream && stage.entity.keyFields.get(stream.index)
    if (keyField === undefined) return
    const decoded = stream!.codec.decode(deadLetter.value)
    if (!decoded.ok || !isSampled(stage!, decoded.event[keyField] as string)) return
    const name = deadLetterName(stage!, stream!, deadLetter)
    const known = deadLetters.get(name)
    if (known) known.count++
    else deadLetters.set(name, { time: decoded.event[stream!.timeField] as number, count: 1 })
  }

  function isSampled(stage: StagePlan, key: string): boolean {
    return sample >= 1 || partitionOf(Buffer.from(`${stage.entity.name} ${key}`), sampleOf) < sample * sampleOf
  }

  function validateRecord(beforeRound = Number.POSITIVE_INFINITY): Difference[] {
    const differences: Difference[] = []
    for (const { tasks, stage } of stages) {
      for (const task of tasks) {
        for (const verdict of task.validateRecord(beforeRound)) {
          if (verdict) count(verdict, stage.repartitionOut === null)
          if (verdict?.kind === 'differing') differences.push(...verdict.differences)
        }
      }
    }
    for (const stage of stages) forget(stage)
    return differences
  }

  function count(verdict: Verdict, isPrediction: boolean): void {
    if (verdict.kind === 'skipped') {
      skip(verdict.reason)
      return
    }
    counts.checked++
    if (isPrediction) counts.predictions++
    if (verdict.kind === 'differing') counts.differing++
  }

  function skip(reason: SkipReason): void {
    counts.skipped[reason] = (counts.skipped[reason] ?? 0) + 1
  }

  /** Nobody asks for what lies two retentions before the slowest output: an event and whoever it may repeat. */
  function forget({ tasks, outputs, keepMs }: (typeof stages)[number]): void {
    const slow = outputs.filter(({ isAtEnd }) => !isAtEnd)
    const reached =
      slow.length > 0 ? Math.min(...slow.map(({ latest }) => latest)) : Math.max(...outputs.map(({ latest }) => latest))
    const waiting = tasks.flatMap(({ pending }) => pending.map(({ place }) => place.time))
    const before = waiting.reduce((least, time) => Math.min(least, time), reached) - keepMs
    for (const task of tasks) task.forget(before)
    forgetDeadLetters()
  }

  function forgetDeadLetters(): void {
    if (deadLetters.size < deadLettersMin) return
    const before = Math.min(...stages.flatMap(({ tasks }) => tasks.map(({ forgottenBefore }) => forgottenBefore)))
    for (const [name, { time }] of deadLetters) if (time < before) deadLetters.delete(name)
  }

  return {
    counts,
    get pending() {
      return stages.reduce((sum, { tasks }) => sum + tasks.reduce((of, { pending }) => of + pending.length, 0), 0)
    },
    wanted,
    nextOf: (at) => partition(at.topic, at.partition).next,
    accept,
    validateRecord,
  }
}

export interface LogsAudit {
  readonly counts: AuditCounts
  readonly differences: readonly Difference[]
  /** Outputs whose recorded position lies beyond the records. */
  readonly pending: number
}

/**
 * The whole audit of a run that is over: `recordsOf` gives the committed records of every partition of a topic, raw, repartition,
 * predictions and rejected topics alike, from offset 0 on.
 */
export function auditLogs(
  options: AuditOptions,
  recordsOf: (topic: string) => ReadonlyArray<readonly LogRecord[]>,
): LogsAudit {
  const { plan, partitionsOf } = options
  const audit = createAudit(options)
  for (const { topic, role } of plan.topics) {
    if (role === 'models' || role === 'schemas') continue
    const lists = recordsOf(topic)
    for (let partition = 0; partition < partitionsOf(topic); partition++) {
      const records = lists[partition] ?? []
      // Behind the last record lie transaction markers only: everything has been read.
      const next = Number.POSITIVE_INFINITY
      const from = options.startOf?.({ topic, partition }) ?? 0
      audit.accept({ topic, partition, from, records, next, stableEnd: next, end: next, age: 0 }, 0)
    }
  }
  const differences = audit.validateRecord()
  return { counts: audit.counts, differences, pending: audit.pending }
}

const sampleOf = 1_000_003

/** So few letters are not looked through for those that may be forgotten. */
const deadLettersMin = 10_000

function deadLetterName(
  stage: StagePlan,
  stream: StreamPlan,
  deadLetter: Pick<DeadLetter, 'partition' | 'offset' | 'attempt'>,
) {
  return `${stage.index} ${stream.index} ${deadLetter.partition} ${deadLetter.offset} ${deadLetter.attempt}`
}
