/** Predictions and repartition records written in place: byte by byte what the codecs give for the same record. */
import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createByteTarget } from '../../schemas/wire/byte-target.ts'
import { createRows } from '../../schemas/wire/event-rows.ts'
import { addReasons, createReasonRows } from '../../schemas/wire/reason-rows.ts'
import type { Prediction, StagePosition } from '../../schemas/wire/records.ts'
import { createRandom, type Random } from '../../testing/random.ts'

const seed = 20261201
const rounds = 2_000
const plan = compile(cardFraud)
const offsets = [0, 1, 63, 64, 8_191, 8_192, 2 ** 27, 2 ** 31, 2 ** 40, 2 ** 52 + 1, Number.MAX_SAFE_INTEGER]
const doubles = [0, 0.5, -1, 1e300, 5e-324, Number.NaN]

const positionOf = (random: Random): StagePosition => ({
  stage: random.pick(['customer', 'terminal', 'ärger']),
  partition: random.below(1_024),
  next: Array.from({ length: random.below(4) }, () => random.pick(offsets)),
})

describe(`in place (seed ${seed})`, () => {
  test('predictions', () => {
    const random = createRandom(seed)
    for (let round = 0; round < rounds; round++) {
      const id = random.pick(['tx', 'x'.repeat(300), 'ä', '1'])
      const before = Array.from({ length: random.below(3) }, () => positionOf(random))
      const position = positionOf(random)
      const reasons = Array.from({ length: random.below(4) }, (_, i) => {
        return { feature: `f${i}`, contribution: random.next() - 0.5 }
      })
      const rest = {
        time: random.pick([...offsets, -1, -64, -65, -62_135_596_800_000]),
        score: random.pick([null, 0, 0.25, 1]),
        modelVersion: random.pick([null, 'v1', 'modèle']),
        fingerprint: random.pick([plan.fingerprint, 'other']),
        shadow: Array.from({ length: random.below(3) }, (_, i) => ({ version: `v${i}`, score: random.next() })),
      }
      const features = plan.features.map(() => random.pick(doubles))
      const origin = { partition: random.below(1_024), offset: random.pick(offsets) }
      const prediction: Prediction = { id, ...rest, features, reasons, origin, positions: [...before, position] }
      const rows = createReasonRows()
      addReasons(rows, [{ feature: 'of another', contribution: 9 }])
      addReasons(rows, reasons)
      const target = createByteTarget(1 + random.below(400))
      const idBytes = Buffer.from(`..${id}..`)
      plan.predictions.codec.write!(target, {
        ...rest,
        ...{ id, idBytes, idStart: id === 'ä' ? -2 : 2, idEnd: idBytes.length - 2 },
        ...{ vector: Float64Array.from([9, ...features]), vectorFrom: 1 },
        ...{ reasons: reasons.length > 0 ? rows : random.pick([null, rows]), reasonsOf: 1 },
        ...{ originPartition: origin.partition, originOffset: origin.offset, positionsBefore: before, position },
      })
      const written = target.bytes.subarray(0, target.end).toString('hex')
      expect([round, written]).toEqual([round, plan.predictions.codec.encode(prediction).toString('hex')])
    }
  })

  test('events on their way to the next stage, with the bytes that they came in', () => {
    const random = createRandom(seed)
    const { codec, slots } = plan.stages[0]!.repartitionOut!
    for (let round = 0; round < rounds; round++) {
      const stream = random.pick(plan.streams)
      const valuesOf = {
        text: 'x'.repeat(1 + random.below(90)),
        number: random.below(1_000) / 100,
        timestamp: 1.7e12 + round,
      }
      const event = Object.fromEntries(
        stream.fields.map(({ name, kind }) => [name, valuesOf[kind as keyof typeof valuesOf]]),
      )
      const raw = stream.codec.encode(event)
      const rows = createRows(stream.codec.layout, 1, raw)
      expect(stream.codec.decodeRow(rows, 0, raw.length, 0)).toBe(true)
      const slotValues = stream === plan.scored ? slots.map(() => random.pick(doubles)) : null
      const before = Array.from({ length: random.below(2) }, () => positionOf(random))
      const position = positionOf(random)
      const [source, originPartition, originOffset] = [random.below(64), random.below(64), random.pick(offsets)]
      const target = createByteTarget(1 + random.below(200))
      codec.writers[stream.index]!(target, {
        ...{ source, originPartition, originOffset, positionsBefore: before, position },
        ...{ slots: slotValues && Float64Array.from([9, 9, ...slotValues]), slotsFrom: 2 },
        ...{ bytes: rows.bytes, bodyStart: rows.bodyStarts[0]!, bodyEnd: rows.bodyEnds[0]! },
      })
      const encoded = codec.encode({
        ...{ kind: 'event', source, stream: stream.index, event, unsent: [] },
        origin: { partition: originPartition, offset: originOffset },
        slots: slotValues ?? [],
        positions: slotValues ? [...before, position] : [],
      })
      expect([round, target.bytes.subarray(0, target.end).toString('hex')]).toEqual([round, encoded.toString('hex')])
    }
  })

  test('not those that validation changes: minus zero is zero at every stage', () => {
    const event = { txId: 'a', customerId: 'c', terminalId: 't', amount: -0, at: 1_700_000_000_000 }
    const raw = plan.scored.codec.encode(event)
    const rows = createRows(plan.scored.codec.layout, 1, raw)
    expect(plan.scored.codec.decodeRow(rows, 0, raw.length, 0)).toBe(true)
    expect([rows.numbers[0], rows.bodyStarts[0]]).toEqual([0, -1])
  })
})
