/** Positions as text: exact format, round trip, and rejection of other text. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodePosition, encodePosition, frontierOf, isAhead, type TaskPosition } from '../../processors/position.ts'
import { initialFrontier } from '../../processors/watermarks/frontier.ts'

const start: TaskPosition = {
  frontier: initialFrontier,
  retentionWatermark: Number.NEGATIVE_INFINITY,
  inputs: [{ resumeOffset: 0, nextOffset: 0, maxEventTime: Number.NEGATIVE_INFINITY }],
}
const later: TaskPosition = {
  frontier: { time: 1_704_067_200_000, order: 7 },
  retentionWatermark: 1_704_067_200_000,
  inputs: [
    { resumeOffset: 3, nextOffset: 9, maxEventTime: 1_704_067_199_000 },
    { resumeOffset: 0, nextOffset: 0, maxEventTime: Number.NEGATIVE_INFINITY },
  ],
}

describe('a position', () => {
  test('is short, stable text', () => {
    expect(encodePosition(later)).toBe('{"v":1,"passed":[1704067200000,7],"inputs":[[3,9,1704067199000],[0,0,null]]}')
    expect(encodePosition(start)).toBe('{"v":1,"passed":[null,-1],"inputs":[[0,0,null]]}')
    const behind = { ...later, retentionWatermark: 1_704_067_100_000 }
    expect(encodePosition(behind)).toContain('"passed":[1704067200000,7],"horizon":1704067100000,"inputs"')
  })

  test('survives encoding and decoding', () => {
    const time = fc.oneof(fc.constant(Number.NEGATIVE_INFINITY), fc.integer({ min: 0, max: 253_402_300_799_999 }))
    const offset = fc.maxSafeNat()
    const position = fc.record({
      frontier: fc.record({ time, order: fc.integer({ min: -1, max: Number.MAX_SAFE_INTEGER }) }),
      retentionWatermark: time,
      inputs: fc.array(fc.record({ resumeOffset: offset, nextOffset: offset, maxEventTime: time }), { maxLength: 9 }),
    })
    fc.assert(
      fc.property(position, (one) => {
        expect(decodePosition(encodePosition(one), 'here')).toEqual(one)
      }),
    )
  })

  test('of a task with many inputs fits in the metadata of an offset commit', () => {
    const input = { resumeOffset: 2 ** 52, nextOffset: 2 ** 52, maxEventTime: 253_402_300_799_999 }
    const frontier = { time: 253_402_300_799_999, order: 2 ** 53 - 1 }
    const position = { frontier, retentionWatermark: frontier.time - 1, inputs: new Array(9).fill(input) }
    expect(Buffer.byteLength(encodePosition(position))).toBeLessThan(4_096)
  })

  test('gives the event time of its frontier', () => {
    expect(frontierOf(encodePosition(later)).time).toBe(1_704_067_200_000)
    expect(frontierOf(encodePosition(start)).time).toBe(Number.NEGATIVE_INFINITY)
  })

  test.each([
    ['', 'nothing'],
    ['{"v":1', '{"v":1'],
    ['null', 'null'],
    ['{"v":2,"passed":[null,-1],"inputs":[]}', '{"v":2,"passed":[null,-1],"inputs":[]}'],
    ['{"v":1,"passed":[null],"inputs":[]}', '{"v":1,"passed":[null],"inputs":[]}'],
    ['{"v":1,"passed":[1,2],"inputs":[[-1,0,null]]}', '{"v":1,"passed":[1,2],"inputs":[[-1,0,null]]}'],
    ['{"v":1,"passed":[1,2],"inputs":[[0,0.5,null]]}', '{"v":1,"passed":[1,2],"inputs":[[0,0.5,null]]}'],
    ['{"v":1,"passed":[1,2],"horizon":"x","inputs":[]}', '{"v":1,"passed":[1,2],"horizon":"x","inputs":[]}'],
    ['{"v":1,"passed":[1,2],"inputs":[[0,0,"x"]]}', '{"v":1,"passed":[1,2],"inputs":[[0,0,"x"]]}'],
  ])('rejects %j', (text, shown) => {
    expect(() => decodePosition(text, 'store, user 3')).toThrow(
      expect.objectContaining({
        code: 'record_unreadable',
        message:
          `store, user 3: expected a task position of format 1, received ${shown}. ` +
          'It was written by another version: start with --rebuild or another namespace.',
      }),
    )
  })
})

test('a position is ahead when it includes anything more', () => {
  const one = { ...later, inputs: [later.inputs[0]!] }
  expect(isAhead(start, start)).toBe(false)
  expect(isAhead(one, one)).toBe(false)
  expect(isAhead(one, start)).toBe(true)
  expect(isAhead(start, one)).toBe(false)
  expect(isAhead({ ...one, inputs: [{ ...one.inputs[0]!, nextOffset: 10 }] }, one)).toBe(true)
  expect(isAhead({ ...one, frontier: { ...one.frontier, order: 8 } }, one)).toBe(true)
  // Fewer events are held, but nothing more was read or released.
  expect(isAhead({ ...one, inputs: [{ ...one.inputs[0]!, resumeOffset: 4 }] }, one)).toBe(false)
})
