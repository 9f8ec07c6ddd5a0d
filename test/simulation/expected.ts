/**
 * The expected outcome of a scenario, from its raw topics alone: which events are valid and new, which records are
 * rejected, which facts the store holds in the end. Shares no code with what it checks except the codecs and the fact rows.
 */
import { compileFactRow, createFactRow, type FactRow } from '../../feature-store/fact-row.ts'
import type { FeatureStore } from '../../feature-store/store.ts'
import { createReplay } from '../../processors/replay.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { orderOf } from '../../schemas/kernel/canonical-order.ts'
import type { EventValues } from '../../schemas/kernel/event.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import type { Plan, StagePlan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { bitsOf, type PipelineRunner } from '../../testing/index.ts'
import { unlucky } from './scenario.ts'

export interface LogEvent {
  readonly stream: StreamPlan
  readonly partition: number
  readonly offset: number
  readonly order: number
  readonly time: number
  readonly id: string
  readonly values: EventValues
}

export interface ValidatedLog {
  /** Valid and not seen before, in canonical order. */
  readonly events: readonly LogEvent[]
  /** `topic partition offset` of each record that must be rejected. */
  readonly rejected: readonly string[]
}

export async function validateLog(runner: PipelineRunner): Promise<ValidatedLog> {
  const events: LogEvent[] = []
  const rejected: string[] = []
  for (const stream of runner.plan.streams) {
    const byPartition = await runner.records(stream.topic)
    byPartition.forEach((records, partition) => {
      let clock = Number.NEGATIVE_INFINITY
      for (const { offset, value } of records) {
        const decoded = stream.codec.decode(value)
        const time = decoded.ok ? (decoded.event[stream.timeField] as number) : 0
        if (!decoded.ok || time < clock - stream.latenessMs) {
          rejected.push(locationName(stream.topic, partition, offset))
          continue
        }
        clock = Math.max(clock, time)
        const order = orderOf(stream.index, partition, offset)
        const id = decoded.event[stream.idField] as string
        if (events.some((other) => other.stream === stream && other.id === id)) continue
        events.push({ stream, partition, offset, order, time, id, values: decoded.event })
        if (isUnlucky(decoded.event)) rejected.push(locationName(stream.topic, partition, offset))
      }
    })
  }
  events.sort((a, b) => a.time - b.time || a.order - b.order)
  return { events, rejected: rejected.sort() }
}

/** A dead letter of an event that came after the facts of its time had expired, although it was not late by its own stream. */
export interface Expired {
  readonly deadLetter: DeadLetter
  readonly id: string
}

/** Only where a stream was more than twice as far behind another as facts are kept can events be so late. */
export function expiredDeadLetters(
  { events, rejected }: ValidatedLog,
  plan: Plan,
  deadLetters: readonly DeadLetter[],
): Expired[] {
  const newest = Math.max(...events.map(({ time }) => time))
  const keptMs = Math.max(...plan.stages.map(({ entity }) => entity.retentionMs))
  return deadLetters.flatMap((deadLetter) => {
    const { topic, partition, offset, problems, value } = deadLetter
    if (problems[0]?.code !== 'late' || rejected.includes(locationName(topic, partition, offset))) return []
    const decoded = plan.scored.codec.decode(value)
    if (topic !== plan.scored.topic || !decoded.ok) return []
    const { [plan.scored.timeField]: time, [plan.scored.idField]: id } = decoded.event
    return (time as number) < newest - 2 * keptMs ? [{ deadLetter, id: id as string }] : []
  })
}

export function locationName(topic: string, partition: number, offset: number): string {
  return `${topic} ${partition} ${offset}`
}

export function isUnlucky(values: EventValues): boolean {
  return unlucky.includes(values.amount as number)
}

/** Ids that must be predicted, once each. */
export function scoredIds({ events }: ValidatedLog, plan: Plan): string[] {
  return events
    .filter(({ stream, values }) => stream.index === plan.scored.index && !isUnlucky(values))
    .map(({ id }) => id)
    .sort()
}

/** Bits of each vector by id, of the pure core. */
export function replayedBits({ events }: ValidatedLog, plan: Plan, partitions: number): Map<string, string> {
  const replay = createReplay(plan, { partitions })
  const all = events.flatMap(({ stream, values, partition }) => replay.push(stream.index, values, partition))
  return new Map([...all, ...replay.flush()].map(({ id, vector }) => [id, bitsOf(vector)]))
}

/** As `PipelineRunner.facts` returns them: live rows in canonical order, hexadecimal, by stage, partition and key. */
export async function expectedFacts(
  { events }: ValidatedLog,
  plan: Plan,
  partitions: number,
  store: FeatureStore,
): Promise<Record<string, string>> {
  const facts: Record<string, string> = {}
  for (const stage of plan.entityStages) {
    const passed = await Promise.all(Array.from({ length: partitions }, (_, task) => passedBy(store, stage, task)))
    for (const [key, rows] of rowsByKey(events, plan, stage)) {
      const partition = partitionOf(Buffer.from(key), partitions)
      const live = rows.filter(({ cells }) => cells[0]! >= passed[partition]! - stage.entity.retentionMs)
      live.sort(({ cells: a }, { cells: b }) => a[0]! - b[0]! || a[1]! - b[1]!)
      if (live.length > 0)
        facts[`${stage.entity.name} ${partition} ${key}`] = live
          .map(({ words }) => Buffer.from(words.buffer).toString('hex'))
          .join('')
    }
  }
  return facts
}

function rowsByKey(events: readonly LogEvent[], plan: Plan, stage: StagePlan): Map<string, FactRow[]> {
  const { entity } = stage
  const write = compileFactRow(entity, plan.streams, fixedHashKey)
  const found = new Map<string, FactRow[]>()
  for (const { stream, values, order } of events) {
    const keyField = entity.keyFields.get(stream.index)
    if (keyField === undefined || !entity.layout.sources.some((source) => source.stream === stream.index)) continue
    // What the last stage rejects leaves its facts in the stages before.
    if (stage.repartitionOut === null && isUnlucky(values)) continue
    const row = createFactRow(entity.layout)
    write(stream.index, values, order, row)
    const key = values[keyField] as string
    found.set(key, [...(found.get(key) ?? []), row])
  }
  return found
}

async function passedBy(store: FeatureStore, stage: StagePlan, partition: number): Promise<number> {
  const { position } = await store.read(stage.entity.name, partition, [])
  const [time] = position === null ? [null] : (JSON.parse(position) as { passed: [number | null] }).passed
  return time ?? Number.NEGATIVE_INFINITY
}
