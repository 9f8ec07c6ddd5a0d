import { describe, expect, test } from 'vitest'
import { definePipeline, flag, stream, text, timestamp } from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { isLater, outcomeOf } from '../../schemas/plan/label-outcome.ts'
import { sound } from './shop-definition.ts'

describe('the outcome of a label event', () => {
  test('the same in every event, or what its field holds', () => {
    expect(outcomeOf({ value: 1 }, { fraud: 0 })).toBe(1)
    expect(outcomeOf({ value: 0 }, {})).toBe(0)
    const field = { value: { field: 'fraud' } }
    const outcomes = [0, 1, true, false, null].map((fraud) => outcomeOf(field, { fraud }))
    expect(outcomes).toEqual([0, 1, 1, 0, null])
    expect(outcomeOf(field, {})).toBeNull()
  })

  test.each([0.5, 2, -1, '1'])('%j is no outcome', (fraud) => {
    expect(outcomeOf({ value: { field: 'fraud' } }, { fraud })).toBe('rejected')
  })

  test('a field of the definition comes into the plan by name', () => {
    const fields = { orderId: text(), at: timestamp(), right: flag({ optional: true }) }
    const checks = stream('checks', { id: 'orderId', key: 'orderId', time: 'at', fields })
    const label = { ...sound.label, from: checks, value: checks.fields.right }
    expect(compile(definePipeline({ ...sound, label })).label).toMatchObject({ value: { field: 'right' } })
  })

  test('the later position is in effect: time, then partition, then offset', () => {
    const position = { time: 5, partition: 1, offset: 7 }
    expect(isLater(position, position)).toBe(false)
    expect(isLater({ ...position, time: 6, partition: 0, offset: 0 }, position)).toBe(true)
    expect(isLater({ ...position, partition: 2, offset: 0 }, position)).toBe(true)
    expect(isLater({ ...position, offset: 8 }, position)).toBe(true)
    expect(isLater({ ...position, offset: 6 }, position)).toBe(false)
  })
})
