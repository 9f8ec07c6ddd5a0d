/** The index of a raw partition: where to read again from, however many records it has, and what retention has removed. */
import { expect, test } from 'vitest'
import {
  checkpointBefore,
  checkpointOfAppend,
  createRawIndex,
  forgetBefore,
  indexRecord,
  maxAtAppend,
} from '../../processors/audit/raw-index.ts'

/** Record n has event time n × 10, every seventh 30 earlier, and is appended at 1,000 + n. */
const timeOf = (n: number) => n * 10 - (n % 7 === 6 ? 30 : 0)

function indexed(records: number) {
  const index = createRawIndex({ topic: 'orders', partition: 0 })
  for (let n = 0; n < records; n++) indexRecord(index, n, 1_000 + n, timeOf(n))
  return index
}

test('nothing at or after an instant lies before the offset that it gives, also with fewer checkpoints than records', () => {
  for (const records of [1, 100, 50_000]) {
    const index = indexed(records)
    expect(index.checkpoints.length).toBeLessThanOrEqual(8_192)
    for (const time of [-1, 0, 55, 400_001, 10_000_000]) {
      const { offset, maxBefore } = checkpointBefore(index, time)!
      const before = Array.from({ length: offset }, (_, n) => timeOf(n))
      expect(maxBefore).toBe(before.reduce((most, one) => Math.max(most, one), Number.NEGATIVE_INFINITY))
      expect(before.some((one) => one >= time)).toBe(false)
    }
  }
})

test('an append time gives an offset before it, and what had been read by then', () => {
  const index = indexed(100)
  expect(checkpointOfAppend(index, 1_050)).toMatchObject({ offset: 49, maxBefore: 470 })
  expect(maxAtAppend(index, 1_050)).toBe(470)
  const many = indexed(50_000)
  for (const at of [0, 1_001, 17_777, 51_000, 90_000]) {
    const last = many.checkpoints.findLast(({ appendedAtMs }) => appendedAtMs < at) ?? many.checkpoints[0]
    expect(checkpointOfAppend(many, at)).toBe(last)
  }
  expect(maxAtAppend(createRawIndex({ topic: 'orders', partition: 0 }), 5)).toBe(Number.NEGATIVE_INFINITY)
})

test('what retention removed is known to be unread', () => {
  const index = indexed(100)
  forgetBefore(index, 0)
  expect(index.unreadUntil).toBe(Number.NEGATIVE_INFINITY)
  forgetBefore(index, 40)
  expect(index.unreadUntil).toBe(390)
  expect(checkpointBefore(index, 0)!.offset).toBe(40)
  forgetBefore(index, 200)
  expect(index).toMatchObject({ unreadUntil: 990, next: 200 })
  expect(checkpointBefore(index, 0)).toBeNull()
})
