/**
 * The stream of one point, at a steady rate of event time: first every account and every shop once, then both drawn evenly. Called by
 * `measure.ts`.
 */
import type { RawEvent } from '../../processors/in-process/in-process-run.ts'
import { createRandom } from '../../testing/random.ts'
import type { CostPoint } from './axes.ts'

const beginMs = Date.UTC(2020, 0, 1)
const dayMs = 86_400_000
export const windowMs = 30 * dayMs
/** With the lag of the shops the first facts leave the longest window after so long. */
const fullMs = windowMs + dayMs
const centsMax = 100_000

/** Endless, in order; the same seed gives the same events. */
export function* costEvents({ entities, facts }: CostPoint, seed: number): Generator<RawEvent, void, void> {
  const random = createRandom(seed)
  const stepMs = windowMs / (entities * facts)
  /** Shops in another order than accounts, or each account had one shop. */
  const [anyAccount, anyShop] = [entityOf(entities, strides[0]), entityOf(entities, strides[1])]
  const cents = () => random.below(centsMax) / 100
  for (let number = 0; ; number++) {
    const isFirst = number < entities
    const values = {
      paymentId: `p${number}`,
      accountId: `a${isFirst ? anyAccount(number) : random.below(entities)}`,
      shopId: `s${isFirst ? anyShop(number) : random.below(entities)}`,
      amount: cents(),
      tax: cents(),
      fee: cents(),
      at: Math.floor(beginMs + number * stepMs),
    }
    yield { stream: 'payments', values }
  }
}

/** Primes above every number of entities: each entity comes up once. */
const strides = [1_000_003, 1_299_709] as const

function entityOf(entities: number, stride: number): (number: number) => number {
  return (number) => (number * stride) % entities
}

/** After so many, as many facts leave every window as enter it. */
export function eventsUntilFull({ entities, facts }: CostPoint): number {
  return Math.ceil((entities * facts * fullMs) / windowMs)
}
