/** `millrace recompute` on the broker in memory: history in canonical order from topics that were filled in another. */
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse } from 'csv-parse/sync'
import { describe, expect, test } from 'vitest'
import { createLeftOut } from '../../cli/left-out.ts'
import { eventsOf, inOrderWithPublished, readHistory } from '../../cli/recompute/history.ts'
import { withSpill } from '../../cli/recompute/spill.ts'
import type { Broker } from '../../runtime/broker.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import {
  bitsOf,
  createPipelineRunner,
  createRandom,
  type PipelineRunner,
  predictedVectors,
  replayed,
  replayedVectors,
  type StreamEvent,
  vectorsById,
} from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs, refund } from '../support/clicks.ts'
import { call, scratchFolder } from './call.ts'

const definition = 'test/cli/fixtures/clicks.ts'
const startMs = clicksStartMs + 10 * 86_400_000
const firstDay = '2024-01-01'
const secondsOf = ({ values }: StreamEvent) => values.at as number

/** 300 clicks of three users on three pages, every 20 s, and refunds of some of them. Some instants are shared. */
function drawn(seed: number): { clicks: StreamEvent[]; refunds: StreamEvent[] } {
  const random = createRandom(seed)
  const place = () => ({ user: random.pick(['anna', 'bert', 'cleo']), page: random.pick(['a', 'b', 'c']) })
  const drawnClicks = Array.from({ length: 300 }, (_, i) => ({ id: `c${i}`, ...place(), seconds: (i >> 1) * 20 }))
  return {
    clicks: drawnClicks.map(({ id, user, page, seconds }) =>
      click(id, user, seconds, { page, amount: random.below(13) }),
    ),
    refunds: drawnClicks
      .filter(() => random.below(4) === 0)
      .map(({ id, user, page, seconds }) =>
        refund(id, user, seconds + 20 * random.below(15), { page, clickedAt: seconds }),
      )
      .sort((a, b) => secondsOf(a) - secondsOf(b)),
  }
}

async function sendInTurns(...parts: ReadonlyArray<readonly StreamEvent[]>): Promise<PipelineRunner> {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  for (const part of parts) {
    await runner.sendAll(part)
    await runner.run()
  }
  return runner
}

async function recompute(runner: PipelineRunner, ...more: readonly string[]) {
  const folder = await scratchFolder()
  const [out, json] = [join(folder, 'out.csv'), join(folder, 'figures.json')]
  const broker: Broker = { ...runner.broker, close: async () => undefined }
  const called = await call(['recompute', definition, '--out', out, '--json', json, ...more], {
    openBroker: () => broker,
    clock: runner.clock,
  })
  const rows: Record<string, string>[] = existsSync(out) ? parse(await readFile(out), { columns: true }) : []
  const figures = existsSync(json) ? JSON.parse(await readFile(json, 'utf8')) : null
  const names = runner.plan.features.map(({ name }) => name)
  const vectors = vectorsById(
    rows.map((row) => ({
      id: row.clickId!,
      bits: bitsOf(names.map((name) => (row[name] === '' ? Number.NaN : Number(row[name])))),
    })),
  )
  return { ...called, rows, figures, vectors, out: called.out }
}

/** As one producer would send both: by event time, and at one instant in the order of the streams. */
const inOrder = (events: readonly StreamEvent[]) => events.toSorted((a, b) => secondsOf(a) - secondsOf(b))

describe('streams that were sent one after the other', () => {
  test.each([1, 2, 3])('are recomputed as a replay of them in order: seed %i', async (seed) => {
    const { clicks, refunds } = drawn(seed)
    const runner = await sendInTurns(clicks, refunds)
    const expected = replayedVectors(replayed(runner.plan, 2, inOrder([...clicks, ...refunds])))
    const published = new Map(predictedVectors(await runner.predictions()))
    const differing = expected.filter(([id, bits]) => published.get(id) !== bits).length
    expect(differing).toBeGreaterThan(30)

    const { code, vectors, figures, rows, out } = await recompute(runner, '--from', firstDay)
    expect(code).toBe(0)
    expect(vectors).toEqual(expected)
    expect(figures).toMatchObject({ rows: 300, compared: 300, differing, unpublished: 0, rejected: 0, model: null })
    expect(Object.keys(figures.features)).toEqual(['refunds'])
    expect(rows.filter(({ published: status }) => status === 'vector')).toHaveLength(differing)
    expect(out.join('\n')).toMatch(new RegExp(`${differing} of 300 vectors differ from those that were published`))
    expect(out.join('\n')).toMatch(/refunds: \d+ differ, by up to \d/)
  })

  test('the predictions topic stays as it was', async () => {
    const { clicks, refunds } = drawn(4)
    const runner = await sendInTurns(clicks, refunds)
    const before = await runner.records(runner.plan.predictions.topic)
    await recompute(runner, '--from', firstDay)
    expect(await runner.records(runner.plan.predictions.topic)).toEqual(before)
  })
})

test('a part of history has the vectors that the whole has', async () => {
  const { clicks, refunds } = drawn(5)
  const runner = await sendInTurns(inOrder([...clicks, ...refunds]))
  const whole = await recompute(runner, '--from', firstDay)
  expect(whole.figures).toMatchObject({ differing: 0, compared: 300 })
  const part = await recompute(runner, '--from', '2024-01-01T00:20:00Z', '--until', '2024-01-01T00:30:00Z')
  expect(part.rows).toHaveLength(60)
  expect(part.rows).toEqual(whole.rows.slice(120, 180))
  expect(part.figures).toMatchObject({ compared: 60, published: 60 })
})

test('events that a running pipeline leaves out are left out and counted', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  await runner.sendAll([click('a', 'anna', 0), click('a', 'anna', 0), click('bad', 'anna', 1, { amount: 13 })])
  await runner.sendRaw('clicks', 0, 'no event')
  await runner.run()
  const { figures, rows, out } = await recompute(runner, '--from', firstDay)
  expect(out.join('\n')).toMatch(/1 × clicks not_json\n {6}clicks, partition 0, offset \d+: expected a JSON object/)
  expect(rows.map(({ clickId }) => clickId)).toEqual(['a'])
  expect(figures).toMatchObject({ invalid: 1, duplicates: 1, rejected: 1, compared: 1, differing: 0 })
})

test('of an event that was predicted again, the last prediction counts, also where it has no score', async () => {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  await runner.sendAll([click('a', 'anna', 0)])
  await runner.run()
  const { plan, broker } = runner
  const { topic, codec } = plan.predictions
  const [prediction] = await runner.predictions()
  const send = async (change: Partial<Prediction>) => {
    const value = codec.encode({ ...prediction!, ...change })
    await (await broker.data.producer()).send([{ topic, partition: 0, key: null, value }])
  }
  await send({ score: 0.5, modelVersion: 'v1' })
  await send({ score: null, modelVersion: null })
  const options = {
    plan,
    broker: broker.data,
    partitionsOf: () => 2,
    fromMs: clicksStartMs,
    untilMs: startMs,
    leftOut: createLeftOut(),
  }
  await withSpill(async (spill) => {
    const { signal } = new AbortController()
    expect((await readHistory({ ...options, signal }, spill)).published).toBe(3)
    for await (const [event] of eventsOf(plan, spill))
      expect(event!.published).toMatchObject({ score: null, modelVersion: null })
    expect.assertions(2)
  })
})

test('events meet what was published of them by their ids, not each with each', async () => {
  const { clicks, refunds } = drawn(7)
  const { plan, broker } = await sendInTurns(inOrder([...clicks, ...refunds]))
  const { signal } = new AbortController()
  const span = { fromMs: clicksStartMs, untilMs: startMs }
  const options = { plan, broker: broker.data, partitionsOf: () => 2, ...span, leftOut: createLeftOut(), signal }
  await withSpill(async (spill) => {
    await readHistory(options, spill)
    const chunks = []
    for await (const rows of spill.query(`EXPLAIN ${inOrderWithPublished(plan.scored.index)}`)) chunks.push(rows.join())
    // What takes seconds for a million events takes hours otherwise.
    expect(chunks.join()).toMatch(/HASH_JOIN/)
    expect(chunks.join()).not.toMatch(/NL_JOIN|NESTED_LOOP/)
  })
})

test('a signal ends it while it reads, and no file is written', async () => {
  const runner = await sendInTurns(drawn(7).clicks)
  const out = join(await scratchFolder(), 'out.csv')
  const { code, err } = await call(['recompute', definition, '--out', out, '--from', firstDay], {
    openBroker: () => ({ ...runner.broker, close: async () => undefined }),
    clock: runner.clock,
    onLine: (line, process) => {
      if (line.startsWith('Reading events')) process.emit('SIGINT')
    },
  })
  expect([code, err.at(-1), existsSync(out)]).toEqual([130, `Stopped: ${out} was not written.`, false])
})

test('an end before the beginning, and a version that is not there, are refused', async () => {
  const runner = await sendInTurns(drawn(6).clicks)
  const ended = await recompute(runner, '--from', '2024-01-02', '--until', '2024-01-01')
  expect([ended.code, ended.err.join()]).toEqual([2, expect.stringMatching(/--until .* is not after --from/)])
  const unknown = await recompute(runner, '--from', firstDay, '--model', 'v3')
  expect(unknown.err.join()).toMatch(/has no version v3/)
  expect(unknown.rows).toEqual([])
})
