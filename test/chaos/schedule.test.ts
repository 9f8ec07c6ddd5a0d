/** What a seed draws. */
import { expect, test } from 'vitest'
import { createRandom } from '../../testing/index.ts'
import { drawSchedule } from './schedule.ts'

const options = { kills: 200, workers: 3, sessionTimeoutMs: 6_000 }

test('a seed draws the same faults again, another one others', () => {
  const draw = (seed: number) => drawSchedule(options, createRandom(seed))
  expect(draw(7)).toEqual(draw(7))
  expect(draw(8)).not.toEqual(draw(7))
})

test('there are as many kills as requested, the last fault is one, and all others come too', () => {
  for (let seed = 1; seed <= 50; seed++) {
    const faults = drawSchedule(options, createRandom(seed))
    const count = (kind: string) => faults.filter((fault) => fault.kind === kind).length
    expect(count('kill'), `seed ${seed}`).toBe(options.kills)
    expect(faults.at(-1)!.kind, `seed ${seed}`).toBe('kill')
    for (const kind of ['pause', 'stop', 'empty redis', 'kill redis', 'kill kafka']) {
      expect(count(kind), `seed ${seed}, ${kind}`).toBeGreaterThanOrEqual(5)
    }
    const paused = faults.filter((fault) => fault.kind === 'pause' && fault.forMs > options.sessionTimeoutMs)
    expect(paused.length, `seed ${seed}`).toBeGreaterThan(0)
  }
})
