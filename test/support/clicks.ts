/** A small pipeline for tests: clicks of users on pages, refunds as labels; one stage (users) or two (users, then pages). */
import {
  count,
  type Delivery,
  definePipeline,
  derive,
  entity,
  type FieldSpecs,
  type Instants,
  logisticRegression,
  number,
  stream,
  sum,
  text,
  timestamp,
} from '../../schemas/definition/definition.ts'
import type { Duration } from '../../schemas/kernel/duration.ts'
import type { ModelPlan } from '../../schemas/models/models.ts'
import type { StreamEvent } from '../../testing/index.ts'

export interface ClicksOptions {
  readonly disorder?: Duration
  /** Of the clicks. */
  readonly instants?: Instants
  readonly lateness?: Duration
  readonly stages?: 1 | 2
  /** Of the longest window. */
  readonly over?: Duration
  /** Of a later version of the definition; nothing is computed from them. */
  readonly moreFields?: FieldSpecs
  /** Streams whose events may be in any partition. */
  readonly rekey?: ReadonlyArray<'clicks' | 'refunds'>
  readonly delivery?: Delivery
  readonly model?: ModelPlan
}

/** Events of the tests are around this time. */
export const clicksStartMs = Date.UTC(2024, 0, 1)

/**
 * `guarded` throws for an amount of 13 and is infinite for one of 17. Refunds count by page where there are two stages, else by user,
 * at the time of the click.
 */
export function clicksPipeline(options: ClicksOptions = {}) {
  const {
    disorder = '0s',
    lateness = '1h',
    stages = 2,
    over = '10m',
    moreFields = {},
    rekey = [],
    delivery,
    instants = {},
    model = logisticRegression(),
  } = options
  const clicks = stream('clicks', {
    id: 'clickId',
    key: 'user',
    time: 'at',
    disorder,
    lateness,
    instants,
    rekey: rekey.includes('clicks'),
    fields: {
      clickId: text(),
      user: text(),
      page: text(),
      amount: number({ decimals: 2, optional: true }),
      at: timestamp(),
      ...moreFields,
    },
  })
  const refunds = stream('refunds', {
    id: 'clickId',
    key: 'user',
    time: 'at',
    rekey: rekey.includes('refunds'),
    fields: { clickId: text(), user: text(), page: text(), clickedAt: timestamp(), at: timestamp() },
  })
  const user = entity('user', [clicks.fields.user, refunds.fields.user])
  const page = entity('page', [clicks.fields.page, refunds.fields.page])
  const last = stages === 1 ? user : page
  const { amount } = clicks.fields
  const guarded = derive([amount], (value) => {
    if (value === 13) throw new Error('unlucky')
    return value === 17 ? Number.POSITIVE_INFINITY : value
  })
  return definePipeline({
    name: 'clicks',
    version: 1,
    scores: clicks,
    features: {
      amount,
      guarded,
      userCount1m: count(clicks, { by: user, over: '1m' }),
      userSum: sum(amount, { by: user, over }),
      lastCount1m: count(clicks, { by: last, over: '1m', lag: '5s' }),
      refunds: count(refunds, { by: last, over, at: refunds.fields.clickedAt }),
    },
    label: { from: refunds, value: 1, otherwise: { value: 0, after: '1h' } },
    model,
    ...(delivery ? { delivery } : {}),
  })
}

/** A click so many seconds after the start. */
export function click(
  clickId: string,
  user: string,
  seconds: number,
  rest: { page?: string; amount?: number | null } = {},
): StreamEvent {
  const { page = 'home', amount = 1 } = rest
  return { stream: 'clicks', values: { clickId, user, page, amount, at: clicksStartMs + seconds * 1_000 } }
}

export function refund(
  clickId: string,
  user: string,
  seconds: number,
  rest: { page?: string; clickedAt?: number } = {},
): StreamEvent {
  const { page = 'home', clickedAt = seconds } = rest
  const [at, clickedAtMs] = [seconds, clickedAt].map((time) => clicksStartMs + time * 1_000)
  return { stream: 'refunds', values: { clickId, user, page, clickedAt: clickedAtMs!, at: at! } }
}
