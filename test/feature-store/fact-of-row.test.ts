/** The fact of an event in rows: bit for bit that of the same event by name, whichever way it came into the rows. */
import { expect, test } from 'vitest'
import { compileFactOfRow } from '../../feature-store/fact-of-row.ts'
import { compileFactRow, createFactRow } from '../../feature-store/fact-row.ts'
import cardFraud from '../../pipelines/card-fraud.ts'
import { fixedHashKey } from '../../schemas/kernel/keyed-hash.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { createRows, putEvent } from '../../schemas/wire/event-rows.ts'
import { createRandom } from '../../testing/random.ts'
import { clicksPipeline } from '../support/clicks.ts'

const seed = 20261203

test(`for streams of any fields (seed ${seed})`, () => {
  const random = createRandom(seed)
  let facts = 0
  for (const plan of [compile(cardFraud), compile(clicksPipeline())]) {
    for (let round = 0; round < 1_000; round++) {
      const stream = random.pick(plan.streams)
      const values = {
        text: () => random.pick(['a', 'ä', '\u{1f600}', 'x'.repeat(1 + random.below(200))]),
        number: () => random.below(100_000) / 100,
        integer: () => random.below(1_000),
        timestamp: () => 1.7e12 + random.below(1e9),
        flag: () => random.below(2) === 1,
      }
      const event = Object.fromEntries(
        stream.fields.map(({ name, kind, optional }) => [
          name,
          optional && random.below(2) === 0 ? null : values[kind](),
        ]),
      )
      const raw = stream.codec.encode(event)
      const rows = createRows(stream.codec.layout, 2, raw)
      if (!stream.codec.decodeRow(rows, 0, raw.length, 1)) putEvent(rows, 1, event)
      for (const { entity } of plan.entityStages) {
        if (!entity.layout.sources.some((source) => source.stream === stream.index)) continue
        const [byName, ofRow] = [createFactRow(entity.layout), createFactRow(entity.layout)]
        compileFactRow(entity, plan.streams, fixedHashKey)(stream.index, event, 12_345, byName)
        compileFactOfRow(entity, plan.streams, fixedHashKey)(stream.index, rows, 1, 12_345, ofRow)
        expect([event, [...ofRow.words]]).toEqual([event, [...byName.words]])
        facts++
      }
    }
  }
  expect(facts).toBeGreaterThan(1_500)
})
