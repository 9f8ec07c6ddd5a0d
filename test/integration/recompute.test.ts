/**
 * Two streams that are sent one after the other to a running pipeline: it says how many predictions would have been others, and `recompute`
 * gives for all of history what a replay of both in order gives.
 */
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import { expect, test, vi } from 'vitest'
import { createRandom } from '../../testing/index.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const definition = 'test/integration/fixtures/orders-repaired.ts'
const [orderCount, dayMs] = [2_000, 86_400_000]
/** Four days of orders, which all windows and what may come late fit into. */
const startMs = Math.floor(Date.now() / dayMs) * dayMs - 5 * dayMs
const random = createRandom(13)

interface Order {
  readonly orderId: string
  readonly userId: string
  readonly shopId: string
  readonly total: number
  readonly at: number
}

const orders = Array.from({ length: orderCount }, (_, i): Order => {
  const at = startMs + Math.floor((i * 4 * dayMs) / orderCount / 60_000) * 60_000
  return {
    orderId: `o${i}`,
    userId: `u${random.below(40)}`,
    shopId: `s${random.below(9)}`,
    total: random.below(100),
    at,
  }
})
const returns = orders
  .filter(() => random.below(10) === 0)
  .map(({ orderId, userId, shopId, at }) => ({ orderId, userId, shopId, at: at + random.below(600) * 60_000 }))
  .sort((a, b) => a.at - b.at)

function csvFile(path: string, rows: ReadonlyArray<object>): string {
  const lines = [Object.keys(rows[0]!), ...rows.map((row) => Object.values(row))]
  writeFileSync(path, lines.map((cells) => cells.join(',')).join('\n'))
  return path
}

const rowsOf = (path: string): Record<string, string>[] => parse(readFileSync(path), { columns: true })

test('the warning, the count, and all of history computed again', { timeout: 300_000 }, async () => {
  const folder = ownFolder()
  const [ordersFile, returnsFile] = [
    csvFile(join(folder, 'orders.csv'), orders),
    csvFile(join(folder, 'returns.csv'), returns),
  ]
  const { url, environment, output } = await runPipeline('recompute', { definition })
  const millrace = async (...args: string[]) => {
    const command = startCommand(args, environment)
    expect(await command.exitCode, command.output()).toBe(0)
    return command.output()
  }
  const metric = async (name: string) => {
    const text = await (await fetch(`${url}/metrics`)).text()
    const values = text.split('\n').filter((line) => line.startsWith(name))
    return values.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  }
  const until = (name: string, count: number) =>
    vi.waitFor(async () => expect(await metric(name)).toBe(count), { timeout: 60_000, interval: 200 })

  await millrace('produce', definition, '--source', ordersFile, '--stream', 'orders')
  await until('millrace_predictions_total', orderCount)
  expect(await metric('millrace_overtaken_predictions_total')).toBe(0)
  await millrace('produce', definition, '--source', returnsFile, '--stream', 'returns')
  await until('millrace_events_total{stage="shop",stream="returns"', returns.length)

  const [out, json, replayFile] = [join(folder, 'out.csv'), join(folder, 'out.json'), join(folder, 'replay.csv')]
  const from = new Date(startMs).toISOString()
  const printed = await millrace('recompute', definition, '--from', from, '--out', out, '--json', json)
  const { differing, compared } = readJson<{ differing: number; compared: number }>(json)
  expect([compared, printed]).toEqual([orderCount, expect.stringContaining('vectors differ from those')])
  expect(differing).toBeGreaterThan(orderCount / 2)

  // The log, the metric, readiness and doctor; the count is of what the facts that are kept still show.
  const overtaken = await metric('millrace_overtaken_predictions_total')
  expect(overtaken).toBeGreaterThan(differing / 4)
  expect(overtaken).toBeLessThanOrEqual(differing)
  expect(output()).toMatch(
    /A fact of returns of .* came to shop \d after later events had been predicted: with such facts/,
  )
  expect(output()).toMatch(/millrace recompute/)
  expect(await (await fetch(`${url}/health/ready`)).json()).toMatchObject({ status: 'degraded' })
  const doctor = startCommand(['doctor', definition, '--url', url], environment)
  await doctor.exitCode
  expect(doctor.output()).toMatch(/warn\s+order shop: .*predictions were made before facts of their windows arrived/)

  const sources = ['--source', `orders=${ordersFile}`, '--source', `returns=${returnsFile}`]
  await millrace('replay', definition, ...sources, '--out', replayFile)
  const columns = ['orderId', 'total', 'userCount1d', 'shopCount1d', 'shopReturns1d']
  const vectorsOf = (path: string) =>
    rowsOf(path)
      .map((row) => columns.map((column) => row[column]))
      .sort(([a], [b]) => (a! < b! ? -1 : 1))
  expect(vectorsOf(out)).toEqual(vectorsOf(replayFile))
})
