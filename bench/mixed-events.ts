/**
 * The events of a tenth of the benchmark's customers and terminals, so that windows of 30 days slide after 50,000 events, with the ordinary
 * variety of a stream: duplicates, events that come late by up to days, and invalid ones. The same seed gives the same events. Called by
 * the guard and by the test of the hot path.
 */
import { type HandbookTable, handbookEventChunks } from '../pipelines/handbook.ts'
import type { RawEvent } from '../processors/in-process/in-process-run.ts'
import { createRandom } from '../testing/random.ts'

const share = 10
const terminals = 1_000
/** One event in so many … */
const duplicateEvery = 200
const lateEvery = 100
const invalidEvery = 1_000
/** … comes again so many events later, or at most so many events late: an hour, and two days of event time. */
const againAfter = 50
const lateByMax = 2_000

export function* mixedEvents(table: HandbookTable, seed: number): Generator<RawEvent, void, void> {
  const random = createRandom(seed)
  const oneIn = (count: number) => random.below(count) === 0
  /** By the number of the event that they come after. */
  const delayed = new Map<number, RawEvent[]>()
  let number = 0
  const after = (events: number, event: RawEvent) => {
    delayed.set(number + events, [...(delayed.get(number + events) ?? []), event])
  }
  for (const { stream, values } of ownEvents(table)) {
    const event = { stream, values }
    if (oneIn(duplicateEvery)) after(againAfter, event)
    if (stream === 'transactions' && oneIn(invalidEvery)) yield { stream, values: { ...values, amount: -1 } }
    if (oneIn(lateEvery)) after(1 + random.below(lateByMax), event)
    else yield event
    yield* delayed.get(number) ?? []
    delayed.delete(number++)
  }
}

function* ownEvents(table: HandbookTable): Generator<RawEvent, void, void> {
  for (const chunk of handbookEventChunks(table, { chunkEventsMax: 1_024 })) {
    for (const { stream, values } of chunk) {
      if (Number(values.customerId) % share !== 0) continue
      yield { stream, values: { ...values, terminalId: String(Number(values.terminalId) % terminals) } }
    }
  }
}
