/** The heap of events in canonical order, compared with a sorted array. */
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { createCanonicalHeap } from '../../processors/watermarks/canonical-heap.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'

const item = fc.record({ time: fc.integer({ min: 0, max: 9 }), order: fc.integer({ min: 0, max: 9 }) })

test('in any sequence of pushes and pops the smallest position comes first', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(item, fc.constant('pop' as const))), (steps) => {
      const heap = createCanonicalHeap<{ time: number; order: number }>()
      const sorted: Array<{ time: number; order: number }> = []
      for (const step of steps) {
        if (step === 'pop') {
          expect(heap.top()).toEqual(sorted[0])
          expect(heap.pop()).toEqual(sorted.shift())
        } else {
          heap.push(step)
          sorted.push(step)
          sorted.sort(compareCanonical)
        }
        expect(heap.size).toBe(sorted.length)
      }
      const rest = Array.from({ length: sorted.length }, () => heap.pop())
      expect(rest).toEqual(sorted)
      expect(heap.pop()).toBeUndefined()
      expect(heap.top()).toBeUndefined()
    }),
  )
})
