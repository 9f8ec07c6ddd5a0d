/**
 * The Handbook's chapter 3, reproduced: logistic regression on the 15 features, trained on a week, with the label delay, the customers left
 * out and the measures of the book. Published: AUC 0.871, average precision 0.606, card precision@100 0.291.
 */
import { expect, test } from 'vitest'
import { createBacktest } from '../../online-model/backtest/backtest.ts'
import { protocolOf } from '../../online-model/backtest/protocol.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { generateHandbook, handbookEvents, handbookStartMs } from '../../pipelines/handbook.ts'
import { createReplay, type Replayed } from '../../processors/replay.ts'
import { compile } from '../../schemas/plan/compile.ts'

const dayMs = 86_400_000
/** The longest window and its lag reach 37 days back from the first row that is trained on. */
const replayFromMs = Date.UTC(2018, 6, 25) - 38 * dayMs

test('chapter 3 comes out to the third decimal', { timeout: 600_000 }, async () => {
  const plan = compile(cardFraud)
  const protocol = protocolOf(Date.UTC(2018, 7, 8), 7 * dayMs)
  const backtest = await createBacktest({
    plan,
    protocol,
    lines: ['split'],
    seed: 0,
    publishEveryMs: dayMs,
    elapsedMs: () => 0,
    signal: new AbortController().signal,
    printLine: () => undefined,
    recordBytesOf: () => 0,
  })
  const replay = createReplay(plan, { partitions: 4 })
  const take = async (replayed: readonly Replayed[]) => {
    for (const { id, time, event, vector } of replayed) {
      if (time >= protocol.trainWeek.fromMs) await backtest.row({ id, time, key: String(event.customerId), vector })
    }
  }
  const secondOf = (timeMs: number) => (timeMs - handbookStartMs) / 1_000
  const span = { fromSecond: secondOf(replayFromMs), untilSecond: secondOf(protocol.test.untilMs + 7 * dayMs) }
  for (const { stream, values } of handbookEvents(generateHandbook(), span)) {
    if (stream === 'transactions' && values.at >= protocol.test.untilMs) continue
    await take(replay.push(stream === 'transactions' ? 0 : 1, values))
    if (stream === 'chargebacks') await backtest.label(values.txId, 1, values.reportedAt)
  }
  await take(replay.flush())
  const { lines, testRows } = backtest.finish()
  backtest.close()
  const { measured, taughtRows, taughtPositives } = lines[0]!
  expect([taughtRows, taughtPositives]).toEqual([67_240, 598])
  expect([testRows, measured.rows, measured.positives]).toEqual([67_080, 58_264, 385])
  const { auc, averagePrecision, precisionAtK } = measured
  expect([auc, averagePrecision, precisionAtK].map((value) => value!.toFixed(3))).toEqual(['0.871', '0.606', '0.291'])
})
