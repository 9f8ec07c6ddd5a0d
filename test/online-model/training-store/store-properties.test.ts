/** Random logs, read in random batches with restarts between, against a naive join of the whole. */
import { join } from 'node:path'
import { expect, test } from 'vitest'
import type { LabelRow, PredictionRow } from '../../../online-model/training-store/apply.ts'
import { openTrainingStore, type TrainingStore } from '../../../online-model/training-store/store.ts'
import type { InputName, PartitionRead } from '../../../online-model/training-store/watermark.ts'
import { createRandom, type Random } from '../../../testing/random.ts'
import { drawn } from '../../support/nightly.ts'
import { naiveJoin } from './naive-join.ts'
import { clicksPlan, folder, hourMs, label, prediction } from './store-fixture.ts'

const afterMs = hourMs
const partitions = 3
const disorderMs = 30_000
const basePlan = {
  ...clicksPlan,
  streams: clicksPlan.streams.map((stream) => ({ ...stream, disorderMs: stream.index === 1 ? disorderMs : 0 })),
}

interface Written<T> {
  readonly row: T
  readonly time: number
}

/** Records in the order in which they are appended, dealt to partitions. */
interface Logs {
  readonly predictions: ReadonlyArray<Written<PredictionRow>>
  readonly label: ReadonlyArray<Written<LabelRow>>
}

/** `isOrderly`: nothing is later than its stream declares. */
function randomLogs(random: Random, isOrderly: boolean): Logs {
  const offsets = new Map<string, number>()
  const nextPosition = (input: InputName) => {
    const partition = random.below(partitions)
    const offset = offsets.get(`${input} ${partition}`) ?? 0
    offsets.set(`${input} ${partition}`, offset + 1)
    return { partition, offset }
  }
  const events = Array.from({ length: 20 + random.below(100) }, (_, n) => ({ id: `e${random.below(1_000)}-${n}`, n }))
  let seconds = 0
  const predictions: Array<Written<PredictionRow>> = []
  const reports: Array<{ id: string; seconds: number; outcome: 0 | 1 | null }> = []
  for (const { id, n } of events) {
    seconds += random.below(4) === 0 ? random.below(1_200) : random.below(3)
    const at = !isOrderly && random.below(10) === 0 ? Math.max(0, seconds - random.below(9_000)) : seconds
    const position = nextPosition('predictions')
    const row = prediction(id, at, { ...position, n })
    predictions.push({ row, time: row.prediction.time })
    // As after a crash under at-least-once: in the same partition, with the model of that time.
    if (random.below(12) === 0) {
      const offset = position.offset + 1
      offsets.set(`predictions ${position.partition}`, offset + 1)
      predictions.push({ row: prediction(id, at, { ...position, offset, n: n + 1 }), time: row.prediction.time })
    }
    for (let times = [0, 0, 1, 1, 2, 3][random.below(6)]!; times > 0; times--) {
      const outcome = ([1, 1, 0, null] as const)[random.below(4)]!
      reports.push({ id, seconds: at + random.below(random.below(3) === 0 ? 14_000 : 3_700), outcome })
    }
  }
  if (random.below(3) > 0) reports.push({ id: 'nobody', seconds: seconds + random.below(9_000), outcome: 1 })
  const late = () => (isOrderly ? random.below(disorderMs / 1_000) : random.below(7_200))
  const appended = reports.map((report) => ({ report, at: report.seconds + late() })).sort((a, b) => a.at - b.at)
  const labels = appended.map(({ report: { id, seconds, outcome } }) => {
    const row = label(id, seconds, { ...nextPosition('label'), outcome })
    return { row, time: row.label.time }
  })
  return { predictions, label: labels }
}

/** Reads the logs as a follower does, with batches, restarts and batches that come again at random. */
async function run(random: Random, { predictions, label }: Logs, open: () => Promise<TrainingStore>) {
  const logs = { predictions, label }
  const written = { predictions: 0, label: 0 }
  const handed: Array<{ readonly ids: readonly string[]; readonly rows: Float64Array; readonly labels: Uint8Array }> =
    []
  let [store, upTo, saved, savedHanded] = [await open(), 0, 0, 0]
  const inputs: readonly InputName[] = ['predictions', 'label']

  const read = (input: InputName, partition: number, max: number) => {
    const from = store.status().partitions.find((p) => p.input === input && p.partition === partition)?.next ?? 0
    const there = logs[input].slice(0, written[input]).filter(({ row }) => row.partition === partition)
    const part = there.slice(from, from + max)
    const next = from + part.length
    const passedMs = Math.max(Number.NEGATIVE_INFINITY, ...part.map(({ time }) => time))
    return { part, read: { input, partition, from, next, passedMs, isAtEnd: next === there.length } as PartitionRead }
  }

  async function takeMature(): Promise<void> {
    for (;;) {
      const { rowCount, ids, rows, labels, seqs } = await store.matured(upTo, 1 + random.below(30))
      if (rowCount === 0) break
      handed.push({ ids, rows, labels })
      upTo = seqs.at(-1)!
    }
  }

  for (let calm = 0; calm < 4; ) {
    for (const input of inputs) {
      if (random.below(3) > 0) written[input] = Math.min(logs[input].length, written[input] + random.below(40))
    }
    const parts = inputs.flatMap((input) =>
      Array.from({ length: partitions }, (_, partition) => read(input, partition, random.below(4) * random.below(20))),
    )
    const batch = {
      predictions: parts
        .flatMap(({ part, read }) => (read.input === 'predictions' ? part : []))
        .map(({ row }) => row as PredictionRow),
      labels: parts.flatMap(({ part, read }) => (read.input === 'label' ? part : [])).map(({ row }) => row as LabelRow),
      read: parts.map((part) => part.read),
    }
    const status = await store.apply(batch)
    if (random.below(5) === 0)
      expect(await store.apply({ ...batch, read: batch.read.map((one) => ({ ...one, isAtEnd: false })) })).toEqual(
        status,
      )
    await takeMature()
    if (random.below(3) === 0) {
      await store.saveState('learner', { upToSeq: upTo, bytes: Buffer.from(String(handed.length)) })
      ;[saved, savedHanded] = [upTo, handed.length]
    }
    if (random.below(6) === 0) {
      await store.close()
      store = await open()
      const state = await store.state('learner')
      expect(state?.upToSeq ?? 0).toBe(saved)
      expect(Number(Buffer.from(state?.bytes ?? []).toString() || 0)).toBe(savedHanded)
      handed.length = savedHanded
      upTo = saved
    }
    const done = inputs.every((input) => written[input] === logs[input].length)
    const isAtEnd = batch.read.every((one) => one.isAtEnd)
    calm = done && isAtEnd ? calm + 1 : 0
  }
  await takeMature()
  const rows = await store.rows({ fromMs: 0, untilMs: Number.MAX_SAFE_INTEGER }, 'latest')
  return { status: store.status(), handed, rows, store }
}

const seeds = Array.from(
  { length: drawn({ always: 4, nightly: 10 }) },
  (_, i) => Number(process.env.STORE_SEED ?? 1_000) + i,
)

/** Every way in which a definition says what holds without a report, and when a report counts. */
const modes = [
  { otherwise: 0, learn: null },
  { otherwise: 0, learn: 'on-arrival' },
  { otherwise: null, learn: null },
  { otherwise: null, learn: 'on-arrival' },
] as const

test.each(seeds.flatMap((seed) => modes.map((mode) => ({ seed, ...mode }))))(
  'the same rows as a naive join, each handed out once, whatever the cuts (STORE_SEED=$seed, $learn, $otherwise)',
  async ({ seed, otherwise, learn }) => {
    const plan = {
      ...basePlan,
      label: { ...basePlan.label, ...(learn && { learn }), otherwise: { value: otherwise, afterMs } },
    }
    const random = createRandom(seed)
    const isOrderly = seed % 2 === 0
    const logs = randomLogs(random, isOrderly)
    const file = join(folder(), 'store.duckdb')
    const open = () => openTrainingStore({ file, plan, clusterId: 'here', consumers: ['learner'] })
    const { status, handed, rows, store } = await run(random, logs, open)
    await store.close()

    const furthest = (input: InputName) => Math.max(Number.NEGATIVE_INFINITY, ...logs[input].map(({ time }) => time))
    const watermarkMs = Math.min(furthest('predictions'), furthest('label') - disorderMs)
    expect(status.watermarkMs).toBe(watermarkMs)
    const naive = naiveJoin(
      logs.predictions.map(({ row }) => row),
      logs.label.map(({ row }) => row),
      { watermarkMs, afterMs, waitMs: learn === 'on-arrival' ? 0 : afterMs, otherwise },
    )
    const ids = handed.flatMap((part) => part.ids)
    if (isOrderly) {
      expect(ids).toEqual(naive.map(({ id }) => id))
      expect(handed.flatMap((part) => [...part.labels])).toEqual(naive.map(({ due }) => due))
    } else {
      expect([...ids].sort()).toEqual(naive.map(({ id }) => id).sort())
    }
    const known = naive.filter(({ latest }) => latest !== null)
    known.sort((a, b) => a.time - b.time || (a.id < b.id ? -1 : 1))
    expect(rows.ids).toEqual(known.map(({ id }) => id))
    expect([...rows.labels]).toEqual(known.map(({ latest }) => latest))
    const number = new Map(
      logs.predictions.map(({ row }) => [`${row.prediction.id} ${row.offset}`, row.prediction.features]),
    )
    expect([...rows.rows]).toEqual(known.flatMap(({ id, offset }) => [...number.get(`${id} ${offset}`)!]))
  },
)
