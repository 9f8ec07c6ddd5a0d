import { describe, expect, test } from 'vitest'
import { count, derive, type Input, mean } from '../../schemas/definition/definition.ts'
import { compileFeature, FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import { buyer, orders } from './shop-definition.ts'

const { amount, gift, note, shopId } = orders.fields
const orderCount = count(orders, { by: buyer, over: '1d' })
const orderMean = mean(amount, { by: buyer, over: '1d' })

/** Slot 0 is the count, slot 1 the mean. */
const compiled = (feature: Input) => compileFeature('odd', feature, (aggregate) => (aggregate === orderCount ? 0 : 1))

function failureOf(feature: Input, event = {}): FeatureFailed {
  try {
    compiled(feature)(event, [1, 2])
  } catch (error) {
    expect(error).toBeInstanceOf(FeatureFailed)
    return error as FeatureFailed
  }
  throw new Error('the feature did not fail')
}

describe('a feature', () => {
  test('is a field, a slot or what a function answers', () => {
    expect(compiled(amount)({ amount: 12.5 }, [])).toBe(12.5)
    expect(compiled(gift)({ gift: true }, [])).toBe(1)
    expect(compiled(gift)({ gift: false }, [])).toBe(0)
    expect(compiled(orderCount)({}, [3, 4])).toBe(3)
    expect(compiled(orderMean)({}, [3, 4])).toBe(4)
    const all = derive([shopId, amount, orderCount], (shop, price, n) => shop.length * 100 + price * n)
    expect(compiled(all)({ shopId: 'abc', amount: 2 }, [5, 0])).toBe(310)
    expect(compiled(derive([all, orderMean], (a, b) => a - b))({ shopId: '', amount: 2 }, [5, 4])).toBe(6)
  })

  test('is missing where an input is missing, and the function is not called', () => {
    const asked: unknown[] = []
    const feature = compiled(
      derive([amount, orderMean], (...values) => {
        asked.push(values)
        return 1
      }),
    )
    expect(feature({ amount: null }, [0, 1])).toBeNaN()
    expect(feature({}, [0, 1])).toBeNaN()
    expect(feature({ amount: 1 }, [0, Number.NaN])).toBeNaN()
    expect(asked).toEqual([])
    expect(feature({ amount: 1 }, [0, 2])).toBe(1)
    expect(asked).toEqual([[1, 2]])
    expect(compiled(note)({ note: null }, [])).toBeNaN()
  })

  test('is missing where the function returns missing, also through another function', () => {
    const missing = derive([orderCount], () => null)
    expect(compiled(missing)({}, [1])).toBeNaN()
    expect(compiled(derive([missing], () => 1))({}, [1])).toBeNaN()
  })

  test('fails where its function throws, and reports where', () => {
    const failure = failureOf(
      derive([orderCount], () => {
        throw new RangeError('too much')
      }),
    )
    expect(failure).toMatchObject({ code: 'function_threw', feature: 'odd', cause: new RangeError('too much') })
    expect(failure.received).toMatch(/^RangeError: too much at .*feature-plan\.test\.ts:\d+:\d+\)?$/)
    expect(failure.message).toBe(`feature odd: ${failure.received}`)
  })

  test('fails where its function throws no error', () => {
    const feature = derive([orderCount], () => {
      throw 'just text'
    })
    expect(failureOf(feature)).toMatchObject({ code: 'function_threw', received: 'just text' })
  })

  test.each([
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [undefined, 'undefined'],
    ['1', '1'],
    [true, 'true'],
  ])('fails where its function answers %s', (answer, shown) => {
    const feature = derive([orderCount, orderMean], () => answer as number)
    expect(failureOf(feature)).toMatchObject({ code: 'not_finite', received: `${shown} from (1, 2)` })
  })
})
