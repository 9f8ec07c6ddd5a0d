/**
 * A span of the generated events by number of transactions, in chunks as `produce` takes them. Pure; called by jobs
 * and by the generator.
 */
import { type HandbookEvent, type HandbookTable, handbookEventChunks } from '../pipelines/handbook.ts'
import type { Plan } from '../schemas/plan/plan.ts'

export interface Slice {
  /** Transactions that come before it. */
  readonly from: number
  /** Transactions in it, with the chargebacks between them. */
  readonly count: number
}

const chunkEventsMax = 2_000

/** Only of streams that the pipeline's stages consume: labels that only a trainer reads are no work for `run`. */
export function* sliceChunks(
  table: HandbookTable,
  plan: Pick<Plan, 'streams' | 'scored'>,
  { from, count }: Slice,
): Generator<HandbookEvent[], void, void> {
  const consumed = new Set(plan.streams.filter(({ entersAt }) => entersAt !== null).map(({ name }) => name))
  let passed = 0
  for (const chunk of handbookEventChunks(table, { chunkEventsMax })) {
    const taken: HandbookEvent[] = []
    for (const event of chunk) {
      if (passed >= from + count) break
      if (passed >= from && consumed.has(event.stream)) taken.push(event)
      if (event.stream === plan.scored.name) passed++
    }
    if (taken.length > 0) yield taken
    if (passed >= from + count) return
  }
}
