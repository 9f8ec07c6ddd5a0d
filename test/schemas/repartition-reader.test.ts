/** Events of a repartition topic read in place: what the codec reads, or left to it. */
import { expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createRows } from '../../schemas/wire/event-rows.ts'
import type { RepartitionRecord, StagePosition } from '../../schemas/wire/records.ts'
import { createCarriedRows } from '../../schemas/wire/repartition-reader.ts'
import { createRandom, type Random } from '../../testing/random.ts'
import { mutated } from './mutated.ts'

const inputs = Number(process.env.FUZZ_INPUTS ?? 4_000)
const seed = Number(process.env.FUZZ_SEED ?? 20261202)
const plan = compile(cardFraud)
const { codec, slots } = plan.stages[0]!.repartitionOut!

const position = (random: Random): StagePosition => ({
  stage: random.pick(['customer', 'ärger', '']),
  partition: random.below(300),
  next: Array.from({ length: random.below(4) }, () => random.below(2 ** 31)),
})

function anyRecord(random: Random): Buffer {
  const stream = random.pick(plan.streams)
  const values = { text: random.pick(['x', 'ä', 'x'.repeat(90)]), number: random.below(1_000) / 100, timestamp: 1.7e12 }
  return codec.encode({
    kind: 'event',
    source: random.below(70),
    stream: stream.index,
    origin: { partition: random.below(300), offset: random.pick([0, 63, 64, 2 ** 40]) },
    event: Object.fromEntries(stream.fields.map(({ name, kind }) => [name, values[kind as keyof typeof values]])),
    slots: stream === plan.scored ? slots.map(() => random.pick([0, 1.5, Number.NaN])) : [],
    unsent: [],
    positions: stream === plan.scored ? Array.from({ length: random.below(3) }, () => position(random)) : [],
  })
}

/** Null where it is refused. */
function decoded(bytes: Buffer): RepartitionRecord | null {
  try {
    return codec.decode(bytes)
  } catch (error) {
    if (error instanceof PipelineError && error.code === 'record_unreadable') return null
    throw error
  }
}

test(`whatever the bytes (seed ${seed})`, () => {
  const random = createRandom(seed)
  const seen = { read: 0, readMutated: 0, left: 0 }
  const carried = createCarriedRows(2, codec.slotCount)
  for (let input = 0; input < inputs; input++) {
    const isMutated = random.below(2) === 0
    const whole = anyRecord(random)
    const value = isMutated ? mutated(whole, random) : whole
    const before = random.below(9)
    const bytes = Buffer.concat([Buffer.alloc(before, 0xc3), value, Buffer.alloc(random.below(9), 1)])
    const rows = plan.streams.map((stream) => createRows(stream.codec.layout, 2, bytes))
    const end = before + value.length
    const stream = codec.streamOf(bytes, before, end)
    const isRead = stream >= 0 && codec.read(stream, rows[stream]!, before, end, 1, carried)
    const expected = decoded(value)
    if (isRead) {
      const { slotsMax, slotCounts } = carried
      const view = rows[stream]!.layout.view(rows[stream]!, 1)
      const event = Object.fromEntries(plan.streams[stream]!.fields.map(({ name }) => [name, view[name]]))
      const origin = { partition: carried.originPartitions[1]!, offset: carried.originOffsets[1]! }
      const slotValues = Array.from(carried.slots.subarray(slotsMax, slotsMax + slotCounts[1]!))
      const [source, positions] = [carried.sources[1]!, carried.positions[1]!]
      const read = { kind: 'event', source, stream, origin, event, slots: slotValues, unsent: [], positions }
      expect([value.toString('hex'), read]).toEqual([value.toString('hex'), expected])
      if (isMutated) seen.readMutated++
      else seen.read++
    } else if (expected !== null) seen.left++
  }
  expect(seen.read).toBeGreaterThan(inputs / 8)
  expect(seen.readMutated).toBeGreaterThan(inputs / 100)
  expect(seen.left).toBeGreaterThan(inputs / 100)
})
