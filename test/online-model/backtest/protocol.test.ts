/** Which rows a backtest trains on and measures: by the Handbook's protocol, by days. */
import { expect, test } from 'vitest'
import { createHistory } from '../../../online-model/backtest/history.ts'
import { dayMs, measuredRows, protocolOf } from '../../../online-model/backtest/protocol.ts'
import { createRandom } from '../../../testing/random.ts'

const day = (name: string) => Date.parse(`${name}T00:00:00Z`)

test("the Handbook's weeks follow from the first test day", () => {
  expect(protocolOf(day('2018-08-08'), 7 * dayMs)).toEqual({
    test: { fromMs: day('2018-08-08'), untilMs: day('2018-08-15') },
    labelDelayMs: 7 * dayMs,
    trainWeek: { fromMs: day('2018-07-25'), untilMs: day('2018-08-01') },
    trainMonth: { fromMs: day('2018-07-04'), untilMs: day('2018-08-01') },
  })
})

test('a day leaves out who was positive in the training week or on a day up to eight before', () => {
  const seed = 31
  const random = createRandom(seed)
  const from = day('2018-08-08')
  const protocol = protocolOf(from, 7 * dayMs)
  const history = createHistory(1)
  const rows = Array.from({ length: 6_000 }, () => ({
    time: from + (random.next() * 35 - 25) * dayMs,
    key: random.below(600),
    label: Number(random.next() < 0.03),
  })).sort((a, b) => a.time - b.time)
  rows.forEach(({ time, key, label }, n) => {
    history.add({ id: String(n), time, key: String(key), vector: [0] })
    if (label === 1) history.label(String(n), 1, time + dayMs)
  })
  const dayOf = (time: number) => Math.floor((time - from) / dayMs)
  const expected = rows.flatMap(({ time, key }, n) => {
    const testDay = dayOf(time)
    if (testDay < 0 || testDay > 6) return []
    const isKnown = rows.some(
      (row) => row.key === key && row.label === 1 && dayOf(row.time) >= -14 && dayOf(row.time) <= testDay - 8,
    )
    return isKnown ? [] : [n]
  })
  const week = rows.filter(({ time }) => dayOf(time) >= 0 && dayOf(time) <= 6).length
  expect(expected.length).toBeLessThan(week - 50)
  expect(
    measuredRows(history, protocol, (row) => history.outcomeOf(row) ?? 0),
    `seed ${seed}`,
  ).toEqual(expected)
})
