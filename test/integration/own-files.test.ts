/**
 * Files of one's own through real servers: two CSV files of the years around 1970, one of their rows invalid, by `verify`, by `start`, and
 * by `produce` into a pipeline that answers over HTTP.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, test, vi } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import type { VerifyFigures } from '../../cli/proof/verify.ts'
import type { StartFigures } from '../../cli/start/start.ts'
import { systemClock } from '../../runtime/clock.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import { createRandom } from '../../testing/random.ts'
import { ownFolder, readJson, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const definition = 'test/integration/fixtures/loans.ts'
const dayMs = 86_400_000
const loans = 1_200
/** Two years before 1970 and two after. */
const startMs = Date.UTC(1968, 0, 1)
const everyMs = Math.floor((4 * 365 * dayMs) / loans)
const amountOf = (i: number) => ((i * 37) % 1_000) + 0.25

interface OwnFiles {
  readonly folder: string
  /** The arguments that name them. */
  readonly sources: readonly string[]
}

/** Large loans are often not paid back, twenty days later. */
function writeFiles(count = loans): OwnFiles {
  const folder = ownFolder()
  const random = createRandom(1970)
  const [lines, defaults] = [['loanId;branchId;amount;at'], ['loanId;branchId;at']] as [string[], string[]]
  for (let i = 0; i < count; i++) {
    const at = startMs + i * everyMs
    lines.push(`l${i};b${i % 5};${amountOf(i)};${new Date(at).toISOString()}`)
    if (i === 7) lines.push(`wrong;b1;"1,5";${new Date(at).toISOString()}`)
    const isPaid = random.below(1_200) >= amountOf(i) || at + 20 * dayMs > startMs + (count - 1) * everyMs
    if (!isPaid) defaults.push(`l${i};b${i % 5};${new Date(at + 20 * dayMs).toISOString()}`)
  }
  const files = { loans: lines, defaults }
  for (const [name, rows] of Object.entries(files)) writeFileSync(join(folder, `${name}.csv`), `${rows.join('\n')}\n`)
  const sources = Object.keys(files).flatMap((name) => ['--source', `${name}=${join(folder, `${name}.csv`)}`])
  return { folder, sources }
}

function servers(folder: string) {
  return {
    KAFKA_BROKERS: inject('kafkaBrokers'),
    REDIS_URL: inject('redisUrl'),
    MILLRACE_HTTP_PORT: '0',
    MILLRACE_PARTITIONS: '2',
    MILLRACE_FOLDER: folder,
  }
}

test('verify: what is live equals the replay, and a refused row shows in the exit code', {
  timeout: 120_000,
}, async () => {
  const { folder, sources } = writeFiles()
  const json = join(folder, 'verify.json')
  const command = startCommand(['verify', definition, ...sources, '--json', json], servers(folder))
  expect(await command.exitCode, command.output()).toBe(3)
  expect(command.output()).toContain('/amount expected a finite number >= 0 with at most 2 decimals, received 1,5')
  const figures = readJson<VerifyFigures>(json)
  expect(figures).toMatchObject({ compared: loans, differing: 0, missing: 0, doubled: 0, rejected: 0, refused: 1 })
})

test('start: a first model of three quarters of the files, then scored events', { timeout: 300_000 }, async () => {
  const { folder, sources } = writeFiles()
  const json = join(folder, 'start.json')
  const args = ['--events', '200', '--rate', '150', '--allow-rejects', '1', '--json', json]
  const command = startCommand(['start', definition, ...sources, ...args], servers(folder))
  expect(await command.exitCode, command.output()).toBe(0)
  expect(command.output()).toContain('Model v1 is the champion now, the first one.')
  expect(command.output()).toMatch(/197[01]-.* event l\d+: 4 features, score 0\.\d{4} by v1/)
  const { events, predictions, rejected } = readJson<StartFigures>(json)
  expect(events).toBeGreaterThanOrEqual(200)
  expect([predictions, rejected]).toEqual([events, 0])
})

test('run and produce: predictions and features of before 1970', { timeout: 300_000 }, async () => {
  const before1970 = 590
  const { sources } = writeFiles(before1970)
  const settings = { MILLRACE_PARTITIONS: '2' }
  const { url, environment, plan, broker } = await runPipeline('loans', { definition, settings })
  const predictions = new Map<string, Prediction>()
  const watched = await watchTopics({
    broker,
    plan,
    clock: systemClock,
    from: 'start',
    onPrediction: (one) => void predictions.set(one.id, one),
    onRejection: () => undefined,
  })
  const produce = startCommand(['produce', definition, ...sources, '--allow-rejects', '1'], environment)
  expect(await produce.exitCode, produce.output()).toBe(0)
  await vi.waitFor(() => expect(predictions.size).toBe(before1970), { timeout: 120_000 })
  await watched.close()

  const last = before1970 - 1
  const { time, features } = predictions.get(`l${last}`)!
  expect([time, new Date(time).getUTCFullYear()]).toEqual([startMs + last * everyMs, 1969])
  expect(features.slice(0, 2)).toEqual([amountOf(last), loansWithin(last, 90)])
  const names = plan.features.map(({ name }) => name)
  const vector = Object.fromEntries(names.map((name, i) => [name, features[i]]))
  const { amount: _, ...ofBranch } = vector
  const ask = async (query: string) => (await fetch(`${url}/features/branch/b${last % 5}?${query}`)).json()
  const instant = new Date(time).toISOString()
  for (const query of [`asOf=l${last}`, `through=${instant}`]) {
    expect(await ask(query), query).toMatchObject({ features: ofBranch, instant })
  }
})

/** Of the same branch, up to the loan itself. */
function loansWithin(last: number, days: number): number {
  const isInside = (i: number) => i % 5 === last % 5 && (last - i) * everyMs < days * dayMs
  return Array.from({ length: last + 1 }, (_, i) => i).filter(isInside).length
}
