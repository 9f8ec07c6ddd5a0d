/** One topic of predictions in three formats: a definition changes how it writes them, and everything of ours reads them all. */
import { expect, test } from 'vitest'
import { auditLogs } from '../../processors/audit/audit.ts'
import type { LogRecord } from '../../runtime/broker.ts'
import { definePipeline } from '../../schemas/definition/definition.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { avroType } from '../../schemas/wire/avro-types.ts'
import { type PredictionFormat, predictionFormats } from '../../schemas/wire/prediction-format.ts'
import { createPipelineRunner, predictedVectors, replayed, replayedVectors } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'

const firstByte: Record<PredictionFormat, number> = { avro: 0xc3, json: 0x7b, registry: 0 }
const events = Array.from({ length: 45 }, (_, i) => click(`c${i}`, `user${i % 5}`, i * 7, { page: `page${i % 3}` }))

test.each<[readonly PredictionFormat[]]>([[predictionFormats], [['registry', 'json', 'avro']]])(
  'predictions as %s, one after the other',
  async (order) => {
    const planOf = (predictionFormat: PredictionFormat) =>
      compile(definePipeline({ ...clicksPipeline(), predictionFormat }))
    const runner = await createPipelineRunner({
      pipeline: clicksPipeline(),
      plan: planOf(order.at(-1)!),
      partitions: 2,
      startMs: clicksStartMs + 3_600_000,
    })
    for (const [i, format] of order.entries()) {
      const plan = format === order.at(-1) ? runner.plan : planOf(format)
      // What is only a matter of writing leaves state and vectors valid.
      expect([plan.fingerprint, plan.stateFingerprint]).toEqual([runner.plan.fingerprint, runner.plan.stateFingerprint])
      await runner.sendAll(events.slice(i * 15, (i + 1) * 15))
      const worker = runner.start({ plan })
      await worker.until('all are scored', () => worker.metrics.totals.predictions === 15)
      await worker.stop()
    }
    const logs = new Map<string, LogRecord[][]>()
    for (const { topic } of runner.plan.topics) logs.set(topic, await runner.records(topic))
    const bytes = logs.get(runner.plan.predictions.topic)!.flat()
    for (const format of predictionFormats) {
      expect(bytes.filter(({ value }) => value![0] === firstByte[format])).toHaveLength(15)
    }

    // As the broker of a reader looks the id up.
    const registered = planOf('registry').predictions.codec.schemas.get('prediction')
    runner.plan.schemas.writers.learnId(1, avroType(registered))
    expect(predictedVectors(await runner.predictions())).toEqual(replayedVectors(replayed(runner.plan, 2, events)))
    const options = { plan: runner.plan, partitionsOf: () => 2, sample: 1, scoreOf: () => null }
    const { counts, differences } = auditLogs(options, (topic) => logs.get(topic)!)
    expect([differences, counts.skipped, counts.predictions]).toEqual([[], {}, 45])
  },
)

test('a format that there is not is a mistake of the definition', () => {
  expect(() => compile(definePipeline({ ...clicksPipeline(), predictionFormat: 'protobuf' as never }))).toThrow(
    'predictionFormat: expected one of avro, json, registry, received protobuf',
  )
})
