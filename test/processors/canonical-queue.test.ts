/** The queue of events in canonical order, compared with a sorted array. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createCanonicalQueue } from '../../processors/watermarks/canonical-queue.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'

const item = fc.record({
  source: fc.integer({ min: 0, max: 3 }),
  time: fc.integer({ min: 0, max: 9 }),
  order: fc.integer({ min: 0, max: 9 }),
})
type Item = { source: number; time: number; order: number }
const place = (found: Item | undefined) => found && [found.time, found.order]

test('in any sequence of pushes and pops the smallest position comes first', () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.oneof(
          { weight: 6, arbitrary: item },
          { weight: 3, arbitrary: fc.constant('pop' as const) },
          { weight: 1, arbitrary: fc.constant('drop' as const) },
        ),
      ),
      (steps) => {
        const queue = createCanonicalQueue<Item>()
        let sorted: Item[] = []
        for (const step of steps) {
          if (step === 'pop') {
            expect(place(queue.top())).toEqual(place(sorted[0]))
            expect(place(queue.pop())).toEqual(place(sorted.shift()))
          } else if (step === 'drop') {
            const keep = sorted.length >> 1
            expect(queue.keepSmallest(keep).map(place)).toEqual(sorted.slice(keep).map(place))
            sorted = sorted.slice(0, keep)
          } else {
            queue.push(step)
            sorted.push(step)
            sorted.sort(compareCanonical)
          }
          expect(queue.size).toBe(sorted.length)
        }
        const rest = Array.from({ length: sorted.length }, () => queue.pop())
        expect(rest.map(place)).toEqual(sorted.map(place))
        expect(queue.pop()).toBeUndefined()
        expect(queue.top()).toBeUndefined()
      },
    ),
    { numRuns: 500 },
  )
})
