/** What held events keep in memory: an event that waits for long keeps neither those around it nor their bytes, and stays what it was. */
import { describe, expect, test } from 'vitest'
import { acceptFetched } from '../../processors/batch/decode.ts'
import { sweepHeld } from '../../processors/batch/held-events.ts'
import { type FetchedEvents, recordOf, type StageEvent } from '../../processors/batch/stage-event.ts'
import { takeBatch } from '../../processors/batch/take-batch.ts'
import type { TakeBounds, TaskOptions } from '../../processors/batch/task-contract.ts'
import { oldestHeld } from '../../processors/batch/task-input.ts'
import { openTaskState, type TaskState } from '../../processors/batch/task-state.ts'
import { createSourceFrontiers } from '../../processors/watermarks/source-frontiers.ts'
import type { LogRecord } from '../../runtime/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { rejectedByHeader } from '../../schemas/wire/dead-letter.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { fetchedOf, rawRecord, taskOptions } from '../support/batch-steps.ts'
import { click, clicksPipeline } from '../support/clicks.ts'
import { drawn } from '../support/nightly.ts'

const bounds: TakeBounds = {
  eventsMax: 10_000,
  admits: () => true,
  maxReleaseTime: Number.POSITIVE_INFINITY,
  beforeRound: Number.POSITIVE_INFINITY,
}

/** Reads answers of so many records each into a task of one input, and takes what may be taken after each. */
function run(
  options: TaskOptions,
  records: readonly LogRecord[],
  perAnswer: number,
  afterAnswer: (state: TaskState, taken: readonly StageEvent[]) => void,
): void {
  const state = openTaskState(options)
  const [first, ...others] = state.inputs
  for (let from = 0, round = 1; from < records.length; from += perAnswer, round++) {
    const answer = records.slice(from, from + perAnswer)
    // More is always to come, but for the other inputs, which stay empty.
    const rest = { from, stableEnd: records.length, end: records.length + 1 }
    acceptFetched(state, fetchedOf(first!.topic, answer, rest), round, 0)
    for (const { topic } of others) acceptFetched(state, fetchedOf(topic, []), round, 0)
    const taken = takeBatch(state, 0, bounds)?.events ?? []
    for (const input of state.inputs) oldestHeld(input)
    afterAnswer(state, taken)
  }
}

const answersOf = ({ inputs }: TaskState) => new Set(inputs[0]!.held.map(({ fetched }) => fetched))

describe('one event that waits for long', () => {
  const plan = compile(clicksPipeline({ stages: 1, disorder: '10s', lateness: '1d' }))
  const options = taskOptions(plan)
  const page = 'p'.repeat(200)

  /** The first event is half a day ahead of all others. */
  const records = Array.from({ length: 30_000 }, (_, offset) =>
    rawRecord(plan, click(`c${offset}`, 'anna', offset === 0 ? 50_000 : offset / 10, { page }), offset),
  )

  test('keeps at most as many events as wait, twice, and the bytes of a few answers', () => {
    const bytes = records.reduce((sum, { value }) => sum + value!.length, 0)
    expect(bytes).toBeGreaterThan(6_000_000)
    let most = { held: 0, kept: 0, taken: 0 }
    run(options, records, 500, (state, taken) => {
      const kept = [...answersOf(state)].reduce((sum, { records: { bytes: of } }) => sum + of.length, 0)
      const { held } = state.inputs[0]!
      most = {
        held: Math.max(most.held, held.length),
        kept: Math.max(most.kept, kept),
        taken: most.taken + taken.length,
      }
    })
    // A hundred events wait for their disorder, and the one that is ahead.
    expect(most.taken).toBeGreaterThan(29_000)
    expect(most.held).toBeLessThan(4_000)
    expect(most.kept).toBeLessThan(1_000_000)
  })

  test('has an answer of its own then, without the others', () => {
    run(options, records.slice(0, 20_000), 500, (state) => {
      const first = oldestHeld(state.inputs[0]!)!
      expect(first.offset).toBe(0)
      if (state.inputs[0]!.nextOffset > 5_000) expect(first.fetched.records.length).toBe(1)
    })
  })
})

/** Everything that anyone asks an event for. */
function told(event: StageEvent) {
  const { id, key, time, order, stream, round, readAtMs, input, offset, maxEventTimeBefore, rejectedBy } = event
  const { originPartition, originOffset, slots, slotsFrom, slotCount, positions, unsent, rows, row } = event
  const record = recordOf(event)
  const body = rows.bodyStarts[row]! < 0 ? null : rows.bytes.toString('hex', rows.bodyStarts[row], rows.bodyEnds[row])
  return {
    ...{ id, key, time, order, stream, round, readAtMs, input, offset, maxEventTimeBefore, rejectedBy },
    ...{ originPartition, originOffset, positions, unsent, body },
    slots: Array.from({ length: slotCount }, (_, i) => slots[slotsFrom + i]),
    values: Object.fromEntries(rows.layout.fields.map(({ name }) => [name, event.event[name]])),
    record: {
      ...record,
      key: record.key?.toString('hex') ?? null,
      value: record.value!.toString('hex'),
      headers: Object.entries(record.headers).map(([name, value]) => `${name}=${value}`),
    },
  }
}

/** Mostly in order, some far ahead; a few beyond ASCII, as JSON, without an amount, or requeued. */
function randomClick(random: Random, number: number, mayBeAhead = true): StreamEvent {
  const ahead = !mayBeAhead ? 0 : random.below(20) === 0 ? random.below(3_000) : random.below(5)
  const page = random.below(10) === 0 ? `pägina ${number}` : `page ${random.below(9)}`
  const amount = random.below(5) === 0 ? null : random.below(10_000) / 100
  return click(`c${number}`, `user ${random.below(5)}`, number + ahead, { page, amount })
}

function rawRecords(plan: Plan, random: Random, count: number): LogRecord[] {
  return Array.from({ length: count }, (_, offset) => {
    const event = randomClick(random, offset)
    const headers = random.below(9) === 0 ? { [rejectedByHeader]: Buffer.from('user') } : {}
    const key = random.below(2) === 0 ? Buffer.from(event.values.user as string) : null
    const record = rawRecord(plan, event, offset, { key, headers })
    return random.below(6) === 0 ? { ...record, value: Buffer.from(JSON.stringify(event.values)) } : record
  })
}

function repartitionRecords(plan: Plan, random: Random, count: number): LogRecord[] {
  const { codec, slots } = plan.stages[1]!.repartitionIn!
  const scored = plan.scored.index
  return Array.from({ length: count }, (_, offset) => ({
    ...rawRecord(plan, 'none', offset),
    value: codec.encode({
      kind: 'event',
      // What the first one sends ahead waits for the other.
      source: offset % 5 === 0 ? 1 : 0,
      stream: scored,
      origin: { partition: random.below(3), offset: 1_000 + offset },
      event: randomClick(random, offset, offset % 5 !== 0).values,
      slots: slots.map(() => random.below(1_000) / 8),
      unsent: [],
      positions: [{ stage: 'user', partition: 0, next: [offset, random.below(offset + 1)] }],
    }),
  }))
}

describe('an event that was copied out of its answer', () => {
  for (const stage of [0, 1]) {
    test(`is the same in every respect, of ${stage === 0 ? 'a raw topic' : 'the stage before'}`, () => {
      const plan = compile(clicksPipeline({ stages: 2, disorder: '10s' }))
      let copied = 0
      for (let seed = 1; seed <= drawn({ always: 12, nightly: 1_000 }); seed++) {
        const random = createRandom(seed)
        const records = (stage === 0 ? rawRecords : repartitionRecords)(plan, random, 150)
        const sourceFrontiers = stage === 0 ? null : createSourceFrontiers(2, 0)
        const options = taskOptions(plan, {
          stage: plan.stages[stage]!,
          tasksBefore: 2 * stage,
          sourceFrontiers,
          limits: { holdMaxMs: Number.POSITIVE_INFINITY, heldMax: 100_000, readAheadMax: 1_000 },
        })
        const perAnswer = 1 + random.below(60)
        const asRead = new Map<number, { readonly told: unknown; readonly fetched: FetchedEvents }>()
        run(options, records, perAnswer, (state, taken) => {
          for (const event of [...taken, ...state.inputs[0]!.held]) {
            const { offset, fetched } = event
            const before = asRead.get(offset)
            asRead.set(offset, { told: told(event), fetched })
            if (before === undefined) continue
            expect(told(event), `seed ${seed}, offset ${offset}`).toEqual(before.told)
            if (before.fetched !== fetched) copied++
          }
          // As if much had been fetched since the last time.
          sweepHeld(state.inputs[0]!, Number.POSITIVE_INFINITY, 100_000)
        })
      }
      expect(copied).toBeGreaterThan(20)
    })
  }
})
