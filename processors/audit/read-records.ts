/**
 * Fetched records into the audit's state: raw and repartition records become events of the stages that read them, repartition records and
 * predictions become outputs of the stages that sent them, dead letters are counted. Called by `createAudit` for each fetched partition.
 */
import type { FetchedPartition, LogRecord } from '../../runtime/broker.ts'
import type { StagePlan, StreamPlan } from '../../schemas/plan/plan.ts'
import { attemptOf } from '../../schemas/wire/dead-letter.ts'
import type { RepartitionEvent } from '../../schemas/wire/records.ts'
import type { AuditedPartition } from './audit-partition.ts'
import { type AuditState, countSkipped, deadLetterName, isSampled, partitionAt } from './audit-state.ts'

/** A fetch that does not continue where the last one ended is ignored. */
export function readFetched(state: AuditState, fetched: FetchedPartition, round: number): void {
  const { plan } = state
  const { topic, records } = fetched
  const at = partitionAt(state, fetched)
  if (fetched.from !== at.next) return
  const reading = plan.stages.find(({ repartitionIn }) => repartitionIn?.topic === topic)
  const stream = plan.streams.find((candidate) => candidate.topic === topic)
  for (const record of records) {
    at.read(record)
    if (reading) readRepartition(state, at, reading, record, round)
    else if (stream) readRaw(state, at, stream, record)
    else if (topic === plan.predictions.topic) readPrediction(state, at, record, round)
    else if (topic === plan.rejected.topic) readDeadLetter(state, record)
  }
  at.reached(fetched)
}

function readRaw(state: AuditState, at: AuditedPartition, stream: StreamPlan, record: LogRecord): void {
  const decoded = stream.codec.decode(record.value)
  if (!decoded.ok || stream.entersAt === null) return
  const origin = { partition: at.partition, offset: record.offset }
  const event = { stream: stream.index, origin, event: decoded.event, slots: [] }
  addEvent(state, at, state.plan.stages[stream.entersAt]!, event, 0, record)
}

function readRepartition(
  state: AuditState,
  at: AuditedPartition,
  reading: StagePlan,
  record: LogRecord,
  round: number,
): void {
  const { plan, stages } = state
  const decoded = reading.repartitionIn!.codec.decode(record.value!)
  if (decoded.kind === 'watermark') return
  const { stream, event, origin, slots, unsent, positions } = decoded
  addEvent(state, at, reading, decoded, decoded.source, record)
  const position = positions.at(-1)
  if (stream !== plan.scored.index || !position) return
  const sender = stages[reading.index - 1]!
  const key = keyOf(sender.stage, stream, event)
  if (!sender.isAudited || key === null || !isSampled(state, sender.stage, key)) return
  if (unsent.length > 0) {
    countSkipped(state, 'other_definition')
    return
  }
  const sortKey = { time: event[plan.scored.timeField] as number, stream, ...origin }
  const id = event[plan.scored.idField] as string
  const repartition = { plan: reading.repartitionIn!, slots }
  sender.tasks[position.partition]?.push({ id, sortKey, position, round, key, repartition, prediction: null })
}

function addEvent(
  state: AuditState,
  at: AuditedPartition,
  stage: StagePlan,
  { stream: index, origin, event, slots }: Pick<RepartitionEvent, 'stream' | 'origin' | 'event' | 'slots'>,
  source: number,
  record: LogRecord,
): void {
  const { plan } = state
  const { isAudited, inputs, tasks } = state.stages[stage.index]!
  const stream = plan.streams[index]!
  const time = event[stream.timeField] as number
  at.sawTime(record.offset, time)
  const key = keyOf(stage, index, event)
  if (key === null || !isAudited || !isSampled(state, stage, key)) return
  if (index !== plan.scored.index && !stage.entity.layout.sources.some((leaves) => leaves.stream === index)) return
  const input = inputs.findIndex(({ topic }) => topic === at.topic)
  const id = String(event[stream.idField])
  const deadLetter = deadLetterName(stage, stream, { ...origin, attempt: attemptOf(record.headers) })
  const location = { stream: index, time, ...origin, id, input, at: record.offset }
  tasks[at.partition]!.add(key, { ...location, source, event, slots, deadLetter })
}

function readPrediction(state: AuditState, at: AuditedPartition, record: LogRecord, round: number): void {
  const { plan } = state
  const prediction = plan.predictions.codec.decode(record.value!)
  const { id, time, origin, positions } = prediction
  at.sawTime(record.offset, time)
  const last = state.stages.at(-1)!
  const position = positions.find(({ stage }) => stage === last.stage.entity.name)
  const task = position && last.tasks[position.partition]
  const sortKey = { time, stream: plan.scored.index, ...origin }
  if (task) task.push({ id, sortKey, position, round, key: null, repartition: null, prediction })
  else countSkipped(state, 'other_definition')
}

/** An event that cannot be decoded is no event for the audit either, so its dead letter is ignored. */
function readDeadLetter(state: AuditState, record: LogRecord): void {
  const { plan, deadLetters } = state
  const deadLetter = plan.rejected.codec.decode(record.value!)
  const stage = plan.stages.find(({ entity }) => entity.name === deadLetter.stage)
  const stream = plan.streams.find(({ topic }) => topic === deadLetter.topic)
  if (!stage || !stream || !stage.entity.keyFields.has(stream.index)) return
  const decoded = stream.codec.decode(deadLetter.value)
  if (!decoded.ok || !isSampled(state, stage, keyOf(stage, stream.index, decoded.event)!)) return
  const name = deadLetterName(stage, stream, deadLetter)
  const known = deadLetters.get(name)
  if (known) known.count++
  else deadLetters.set(name, { time: decoded.event[stream.timeField] as number, count: 1 })
}

/** Null where the stage has no key for the stream. */
function keyOf(stage: StagePlan, stream: number, event: RepartitionEvent['event']): string | null {
  const keyField = stage.entity.keyFields.get(stream)
  return keyField === undefined ? null : (event[keyField] as string)
}
