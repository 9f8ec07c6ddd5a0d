/**
 * Random definitions over random streams, through the real batch loop and store, against the oracle: no value differs at the recorded
 * positions, every event comes to its end, and what was fetched, batched and committed when makes no difference.
 *
 * The whole of it: PROPERTY_STREAMS=100000 npx vitest run --project unit test/processors/random-streams.test.ts
 * A failure names its seed: PROPERTY_SEED=… PROPERTY_STREAMS=1 repeats it.
 */
import { expect, test } from 'vitest'
import { auditLogs } from '../../processors/audit/audit.ts'
import { bitsOf, createRandom } from '../../testing/index.ts'
import { type InstantRun, instantRun } from '../support/instant-run.ts'
import { drawn } from '../support/nightly.ts'
import { type RandomPipeline, randomPipeline, randomStream, type Sent } from '../support/random-pipelines.ts'

const streams = Number(process.env.PROPERTY_STREAMS ?? drawn({ always: 100, nightly: 2_000 }))
const firstSeed = Number(process.env.PROPERTY_SEED ?? 1)
/** A definition is compiled for so many streams. */
const streamsPerDefinition = 50

interface Totals {
  streams: number
  events: number
  predictions: number
  checked: number
  compared: number
  late: number
  failures: number
  readonly skipped: Record<string, number>
}

function noTotals(): Totals {
  return { streams: 0, events: 0, predictions: 0, checked: 0, compared: 0, late: 0, failures: 0, skipped: {} }
}

test(`${streams} random streams give what the oracle gives`, { timeout: 3_600_000 }, async () => {
  const totals = noTotals()
  let pipeline: RandomPipeline | undefined
  let definition = Number.NaN
  for (let seed = firstSeed; seed < firstSeed + streams; seed++) {
    const of = Math.floor(seed / streamsPerDefinition)
    if (of !== definition) pipeline = randomPipeline(createRandom(of * 7_919))
    definition = of
    const problem = await problemOf(seed, pipeline!, totals).catch((error: unknown) => String(error))
    if (problem) expect.fail(`seed ${seed}: ${problem}`)
    if (totals.streams % 5_000 === 0) console.log(JSON.stringify(totals))
  }
  // What the oracle leaves open is little, and most was compared.
  const skipped = Object.values(totals.skipped).reduce((total, count) => total + count, 0)
  expect(skipped / (totals.checked + 1)).toBeLessThan(0.02)
  if (streams >= 100) expect(totals.compared).toBeGreaterThan(streams / 5)
})

/** One entity with facts of far more than 64 KiB of rows, which are written again as they die; the oracle takes its time for them. */
test('a hot entity gives what the oracle gives', { timeout: 180_000 }, async () => {
  const seed = 1
  const totals = noTotals()
  const pipeline = randomPipeline(createRandom(seed * 7_919))
  expect(await problemOf(seed, pipeline, totals, hotEvents)).toBeNull()
  expect(totals.checked).toBeGreaterThan(hotEvents / 2)
})

const hotEvents = drawn({ always: 1_200, nightly: 2_500 })

async function problemOf(seed: number, pipeline: RandomPipeline, totals: Totals, hot = 0): Promise<string | null> {
  const random = createRandom(seed)
  const sent = randomStream(random, pipeline, hot)
  const requeues = random.below(100) < 30
  const one = await instantRun(pipeline, sent, createRandom(seed * 2 + 1), { requeues })
  const problem = oracleProblem(pipeline, sent, one, totals)
  totals.streams++
  if (problem || requeues || one.late > 0) return problem
  const other = await instantRun(pipeline, sent, createRandom(seed * 2 + 2), { requeues })
  if (other.late > 0) return oracleProblem(pipeline, sent, other, totals)
  totals.compared++
  const [a, b] = [vectors(pipeline, one), vectors(pipeline, other)]
  const id = [...new Set([...a.keys(), ...b.keys()])].find((key) => a.get(key) !== b.get(key))
  return id === undefined ? null : `${id} depends on how its inputs were read: ${a.get(id)} and ${b.get(id)}`
}

function oracleProblem(
  { plan }: RandomPipeline,
  sent: readonly Sent[],
  run: InstantRun,
  totals: Totals,
): string | null {
  const { partitionsOf } = run
  const audit = auditLogs({ plan, partitionsOf, sample: 1, scoreOf: () => null }, run.records)
  const { counts, differences, pending } = audit
  totals.events += sent.length
  totals.checked += counts.checked
  totals.predictions += counts.predictions
  totals.late += run.late
  totals.failures += run.failures
  for (const [reason, count] of Object.entries(counts.skipped))
    totals.skipped[reason] = (totals.skipped[reason] ?? 0) + count
  if (differences.length > 0) return JSON.stringify(differences[0])
  if (pending > 0) return `${pending} outputs wait for inputs beyond the end`
  if (counts.skipped.before_read || counts.skipped.other_definition) return JSON.stringify(counts.skipped)
  return outcomeProblem(plan, sent, run)
}

/** Every event that can be read is predicted, or has a dead letter; none is predicted twice. */
function outcomeProblem(plan: RandomPipeline['plan'], sent: readonly Sent[], run: InstantRun): string | null {
  const deadLetters = run
    .records(plan.rejected.topic)
    .flat()
    .map(({ value }) => plan.rejected.codec.decode(value!))
  const refused = new Set(
    deadLetters.map(({ value, topic }) => {
      const decoded = plan.streams.find((stream) => stream.topic === topic)!.codec.decode(value)
      return decoded.ok && topic === plan.scored.topic ? decoded.event[plan.scored.idField] : null
    }),
  )
  const origins = new Set<string>()
  const ids = new Set<string>()
  for (const { value } of run.records(plan.predictions.topic).flat()) {
    const { id, origin } = plan.predictions.codec.decode(value!)
    const name = `${origin.partition} ${origin.offset}`
    if (origins.has(name)) return `${id} was predicted twice`
    origins.add(name)
    ids.add(id)
  }
  const lost = sent.find(
    ({ id, topic }) => topic === plan.scored.topic && id !== null && !ids.has(id) && !refused.has(id),
  )
  return lost ? `${lost.id} was neither predicted nor rejected` : null
}

/** Vectors and rejections by location of the raw event. */
function vectors({ plan }: RandomPipeline, run: InstantRun): Map<string, string> {
  const found = new Map<string, string>()
  for (const { value } of run.records(plan.predictions.topic).flat()) {
    const { id, origin, features } = plan.predictions.codec.decode(value!)
    found.set(`${id} at ${origin.partition} ${origin.offset}`, bitsOf(features))
  }
  for (const { value } of run.records(plan.rejected.topic).flat()) {
    const { topic, partition, offset, problems } = plan.rejected.codec.decode(value!)
    found.set(`dead letter of ${topic} ${partition} ${offset}`, problems.map(({ code }) => code).join())
  }
  return found
}
