/** The verdict on a raw record: a valid event, or all that is wrong with it. */
import { describe, expect, test } from 'vitest'
import { validateRecord } from '../../processors/validate.ts'
import { partitionOf } from '../../runtime/partition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { at, rawRecord } from '../support/batch-steps.ts'
import { click, clicksPipeline } from '../support/clicks.ts'

const plan = compile(clicksPipeline({ stages: 1, lateness: '1m' }))
const stream = plan.scored
const input = { stream, partition: 0, partitions: 1 }
const never = Number.NEGATIVE_INFINITY

describe('a record is valid', () => {
  test('with its event and its event time', () => {
    const event = click('a', 'anna', 5)
    const verdict = validateRecord(rawRecord(plan, event), input, never)
    expect(verdict).toEqual({ ok: true, event: event.values, time: at(5) })
  })

  test('up to the lateness behind the clock of its partition', () => {
    expect(validateRecord(rawRecord(plan, click('a', 'anna', 40)), input, at(100)).ok).toBe(true)
  })

  test('up to the allowed time ahead of its append time', () => {
    const record = rawRecord(plan, click('a', 'anna', 40), 0, { appendedAtMs: at(40) - stream.aheadMs })
    expect(validateRecord(record, input, never).ok).toBe(true)
  })

  test('in any partition where its stream is rekeyed', () => {
    const { scored } = compile(clicksPipeline({ stages: 1, rekey: ['clicks'] }))
    const record = rawRecord(plan, click('a', 'anna', 1))
    for (const partition of [0, 1, 2]) {
      expect(validateRecord(record, { stream: scored, partition, partitions: 3 }, never).ok).toBe(true)
    }
  })
})

describe('a record is rejected', () => {
  test('as late, beyond the lateness behind the clock of its partition', () => {
    const record = rawRecord(plan, click('a', 'anna', 39))
    expect(validateRecord(record, input, at(100))).toEqual({
      ok: false,
      problems: [
        {
          path: '/at',
          code: 'late',
          expected: 'at most 1m before 2024-01-01T00:01:40.000Z, the latest earlier event of the partition',
          received: '2024-01-01T00:00:39.000Z',
        },
      ],
    })
  })

  test('as ahead, beyond the allowed time after its append time', () => {
    const record = rawRecord(plan, click('a', 'anna', 40), 0, { appendedAtMs: at(40) - stream.aheadMs - 1 })
    expect(validateRecord(record, input, never)).toMatchObject({
      ok: false,
      problems: [{ path: '/at', code: 'ahead', received: '2024-01-01T00:00:40.000Z' }],
    })
  })

  test('in another partition than the one of its key by murmur2', () => {
    const home = partitionOf(Buffer.from('anna'), 3)
    const record = rawRecord(plan, click('a', 'anna', 1))
    expect(validateRecord(record, { stream, partition: home, partitions: 3 }, never).ok).toBe(true)
    expect(validateRecord(record, { stream, partition: (home + 1) % 3, partitions: 3 }, never)).toEqual({
      ok: false,
      problems: [
        {
          path: '/user',
          code: 'partition_mismatch',
          expected: `partition ${home} of 3, where the key anna belongs by murmur2`,
          received: `partition ${(home + 1) % 3}`,
        },
      ],
    })
  })

  test.each([
    ['text', Buffer.from('{"clickId":'), 'not_json'],
    ['nothing', null, 'empty'],
    [
      'an event without its fields',
      Buffer.from('{"clickId":"a","page":"home","at":"2024-01-01T00:00:00Z"}'),
      'missing',
    ],
  ])('as unreadable: %s', (_, value, code) => {
    const record = { ...rawRecord(plan, ''), value }
    expect(validateRecord(record, input, never)).toMatchObject({ ok: false, problems: [{ code }] })
  })
})

test('the same record against the same clock has the same verdict, whatever was validated in between', () => {
  const late = rawRecord(plan, click('a', 'anna', 39))
  const before = validateRecord(late, input, at(100))
  validateRecord(rawRecord(plan, click('b', 'anna', 500)), input, at(100))
  expect(validateRecord(late, input, at(100))).toEqual(before)
  expect(validateRecord(late, input, at(99)).ok).toBe(true)
})
