/** The trainer on the broker in memory: from logged predictions and labels to promoted, rejected and rolled back versions. */
import { join } from 'node:path'
import { Registry } from 'prom-client'
import { describe, expect, onTestFinished, test, vi } from 'vitest'
import { modelOf } from '../../../online-model/models/model-of.ts'
import { predictor } from '../../../online-model/models/scorer.ts'
import { challengers, champion, isRolledBack } from '../../../online-model/registry/registry.ts'
import { createRegistryWriter } from '../../../online-model/registry/writer.ts'
import { createTrainerMetrics } from '../../../online-model/trainer/metrics.ts'
import { defaultTrainerLimits, startTrainer, type TrainerOptions } from '../../../online-model/trainer/trainer.ts'
import { openTrainingStore } from '../../../online-model/training-store/store.ts'
import { systemClock } from '../../../runtime/clock.ts'
import { createLog } from '../../../runtime/log.ts'
import { createMemoryBroker, type MemoryBroker } from '../../../runtime/memory/broker.ts'
import type { LearnDefinition } from '../../../schemas/definition/learn-definition.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'
import type { ModelWeights } from '../../../schemas/models/models.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { createRandom } from '../../../testing/random.ts'
import { clicksPipeline, clicksStartMs } from '../../support/clicks.ts'
import { folder } from '../training-store/store-fixture.ts'

const planOf = (learn: LearnDefinition) => compile({ ...clicksPipeline(), learn })
const plan = planOf({ continuously: { publishEvery: '2h' }, retrain: { rows: 1_000 } })
/** Trains on request, and changes nothing else. */
const onDemand = planOf({ retrain: { rows: 1_000_000 } })
const topics = {
  predictions: plan.predictions.topic,
  label: plan.streams[plan.label.stream]!.topic,
  models: plan.models.topic,
}
const hour = 360

interface Served {
  readonly score: (vector: readonly number[]) => number
  readonly version: string
}

interface TestEnvironment {
  readonly broker: MemoryBroker
  readonly file: string
  /** Events of ten seconds each, from `from` on: the larger the amount, the likelier the refund. */
  send(from: number, count: number, served?: Served | null, shadow?: Served | null): Promise<void>
}

async function openEnvironment(): Promise<TestEnvironment> {
  const broker = createMemoryBroker({ clock: systemClock })
  onTestFinished(() => broker.close())
  await broker.admin.ensureTopics(Object.values(topics).map((topic) => ({ topic, partitions: 1, config: {} })))
  const producer = await broker.data.producer()
  onTestFinished(() => producer.close())
  return {
    broker,
    file: join(folder(), 'store.duckdb'),
    async send(from, count, served = null, shadow = null) {
      const records = []
      for (let n = from; n < from + count; n++) {
        const random = createRandom(n)
        const amount = random.next() * 10
        const isPositive = random.next() < 1 / (1 + Math.exp(2 * (7 - amount)))
        const features = [amount, amount, random.next(), 1, 2, 0]
        const time = clicksStartMs + n * 10_000
        const prediction = {
          id: `e${n}`,
          time,
          score: served ? served.score(features) : null,
          modelVersion: served?.version ?? null,
          features,
          fingerprint: plan.fingerprint,
          origin: { partition: 0, offset: n },
          positions: [],
          reasons: [],
          shadow: shadow ? [{ version: shadow.version, score: shadow.score(features) }] : [],
        }
        const key = Buffer.from(`user${n % 300}`)
        records.push({ topic: topics.predictions, partition: 0, key, value: plan.predictions.codec.encode(prediction) })
        // One refund in between keeps the labels' clock going.
        if (!isPositive && n % 50 > 0) continue
        const at = time + 1_000
        const id = isPositive ? `e${n}` : `none${n}`
        const values = { clickId: id, user: 'u', page: 'p', clickedAt: time, at }
        records.push({
          topic: topics.label,
          partition: 0,
          key: Buffer.from('u'),
          value: plan.streams[plan.label.stream]!.codec.encode(values),
        })
      }
      await producer.send(records)
    },
  }
}

const fitHere: TrainerOptions['fit'] = (training, options) => modelOf(plan.model).fit(training, options)

async function train(environment: TestEnvironment, more: Partial<TrainerOptions> = {}) {
  const { broker, file } = environment
  const stop = new AbortController()
  const store = await openTrainingStore({ file, plan, clusterId: 'here', consumers: more.plan ? [] : ['learner'] })
  const { codec } = plan.models
  const registry = createRegistryWriter({ broker: broker.data, codec, topic: topics.models, clock: systemClock.nowMs })
  const prometheus = new Registry()
  const trainer = startTrainer({
    plan,
    broker: broker.data,
    store,
    registry,
    fit: fitHere,
    seed: 7,
    clock: systemClock,
    random: () => 1,
    log: createLog('silent'),
    metrics: createTrainerMetrics(prometheus),
    snapshotFile: `${file}.snapshot`,
    limits: { ...defaultTrainerLimits, evaluateEveryMs: 0, pollMs: 2 },
    signal: stop.signal,
    ...more,
  })
  trainer.done.catch(() => undefined)
  let closed: Promise<void> | null = null
  const close = () => {
    closed ??= (async () => {
      stop.abort()
      await trainer.done.finally(async () => {
        await registry.close()
        await store.close()
      })
    })()
    return closed
  }
  onTestFinished(() => close().catch(() => undefined))
  return { trainer, store, registry, prometheus, close }
}

type Running = Awaited<ReturnType<typeof train>>

const until = (check: () => void) => vi.waitFor(check, { timeout: 30_000, interval: 10 })
const served = ({ registry }: Running, version: string): Served => {
  const { model } = registry.state().versions.get(version)!
  return { version, score: predictor(model, plan) }
}
const retrainedVersions = ({ registry }: Running) =>
  [...registry.state().versions.values()].filter(({ origin }) => origin === 'retrain')

describe('the trainer', () => {
  test('trains a first champion, keeps learning, and reports the quality of what it served', async () => {
    const environment = await openEnvironment()
    const running = await train(environment)
    await environment.send(0, 6 * hour)
    await until(() => expect(champion(running.registry.state())).not.toBeNull())
    const first = champion(running.registry.state())!
    expect(first.fingerprint).toBe(plan.fingerprint)
    expect(first.trainedOn.map(({ topic }) => topic).sort()).toEqual([topics.predictions, topics.label].sort())

    await environment.send(6 * hour, 6 * hour, served(running, first.version))
    await until(() => {
      const { served: report } = running.trainer.evaluation()!
      const all = report.groups.find(({ by }) => by === 'all')!
      expect(all.quality.rows).toBeGreaterThan(4 * hour)
      expect(all.quality.averagePrecision).toBeGreaterThan(0.7)
      expect(report.groups.find(({ by }) => by === 'promotion')!.name).toBe(first.version)
    })
    await until(() => {
      const continuous = [...running.registry.state().versions.values()].filter(({ origin }) => origin === 'continuous')
      expect(continuous.length).toBeGreaterThan(1)
      expect(retrainedVersions(running).length).toBeGreaterThan(1)
    })
    // One of each origin at most scores in shadow.
    const origins = challengers(running.registry.state()).map(({ origin }) => origin)
    expect(new Set(origins).size).toBe(origins.length)
    const shown = await running.prometheus.metrics()
    expect(shown).toMatch(/millrace_trainer_candidates_total\{outcome="promoted"\} [1-9]/)
    expect(shown).toMatch(/millrace_model_average_precision\{role="champion",by="all",name=""\} 0\.\d/)
  })

  test('continues after a stop from what it had saved: nothing is learnt twice or published again', async () => {
    const environment = await openEnvironment()
    await environment.send(0, 6 * hour)
    const first = await train(environment)
    await until(() => expect(champion(first.registry.state())).not.toBeNull())
    await until(() => expect(first.trainer.retraining()).toBeNull())
    await first.close()
    const names = [...first.registry.state().versions.keys()]

    const undisturbed = await openEnvironment()
    await undisturbed.send(0, 9 * hour)
    const second = await train(environment)
    await environment.send(6 * hour, 3 * hour)
    const whole = await train(undisturbed)
    const weightsOf = async (running: Running, origin: string): Promise<ModelWeights[]> => {
      const state = await createRegistryWriter({
        broker: running === whole ? undisturbed.broker.data : environment.broker.data,
        codec: plan.models.codec,
        topic: topics.models,
        clock: systemClock.nowMs,
      }).refresh()
      return [...state.versions.values()].filter((one) => one.origin === origin).map(({ model }) => model)
    }
    await until(() => {
      expect(second.store.status().maturedSeq).toBeGreaterThan(7 * hour)
      expect(whole.store.status().maturedSeq).toBe(second.store.status().maturedSeq)
    })
    await vi.waitFor(
      async () => {
        const [a, b] = [await weightsOf(second, 'continuous'), await weightsOf(whole, 'continuous')]
        expect(a.length).toBeGreaterThan(1)
        expect(a).toEqual(b)
      },
      { timeout: 30_000 },
    )
    expect([...second.registry.state().versions.keys()].slice(0, names.length)).toEqual(names)
  })

  test('an outage is waited out: nothing is learnt twice, and what was trained is published afterwards', async () => {
    const environment = await openEnvironment()
    await environment.send(0, 8 * hour)
    let left = 0
    const gone = (): boolean => left-- > 0
    const broker: MemoryBroker = {
      ...environment.broker,
      data: {
        ...environment.broker.data,
        async bounds(partitions) {
          if (partitions.some(({ topic }) => topic === topics.models) && gone())
            throw new PipelineError('kafka_unreachable', 'Kafka is gone.')
          return environment.broker.data.bounds(partitions)
        },
      },
    }
    left = 4
    const running = await train({ ...environment, broker })
    await until(() => expect(champion(running.registry.state())).not.toBeNull())
    await until(() => expect(retrainedVersions(running).length).toBeGreaterThan(0))
    expect(left).toBeLessThan(0)
    const { upToSeq } = (await running.store.state('learner'))!
    expect(upToSeq).toBeLessThanOrEqual(running.store.status().maturedSeq)
    const learnt = /millrace_trainer_learnt_rows_total (\d+)/
    await vi.waitFor(async () => {
      const [, rows] = learnt.exec(await running.prometheus.metrics())!
      expect(Number(rows)).toBe(running.store.status().maturedSeq)
    })
  })

  test('a training that failed changes nothing, and one that is broken ends the trainer', async () => {
    const environment = await openEnvironment()
    await environment.send(0, 8 * hour)
    const refuses: TrainerOptions['fit'] = () => Promise.reject(new PipelineError('model_untrainable', 'Too little.'))
    const running = await train(environment, { fit: refuses })
    await until(() => expect(running.store.status().maturedSeq).toBeGreaterThan(5 * hour))
    const failed = /retrain_duration_seconds_count\{outcome="failed"\} [1-9]/
    await vi.waitFor(async () => expect(await running.prometheus.metrics()).toMatch(failed), { timeout: 30_000 })
    expect(retrainedVersions(running)).toEqual([])
    await running.close()

    const broken = await train(environment, { fit: () => Promise.reject(new Error('broken')) })
    broken.trainer.requestRetraining('a test')
    await expect(broken.trainer.done).rejects.toThrow('broken')
    expect(retrainedVersions(broken)).toEqual([])
  })

  test('a stop in the middle of a training ends both, and the training is due again', async () => {
    const environment = await openEnvironment()
    await environment.send(0, 8 * hour)
    const untilStopped: TrainerOptions['fit'] = (_, { signal }) =>
      new Promise((_, reject) => {
        signal!.throwIfAborted()
        signal!.addEventListener('abort', () => reject(signal!.reason as Error))
      })
    const stop = new AbortController()
    let isStopDue = false
    // The stop comes in the middle of a step, whose end is waited for.
    const fetcher: MemoryBroker['data']['fetcher'] = async () => {
      const own = await environment.broker.data.fetcher()
      return {
        ...own,
        async fetch(...args) {
          if (isStopDue) stop.abort()
          return own.fetch(...args)
        },
      }
    }
    const broker = { ...environment.broker, data: { ...environment.broker.data, fetcher } }
    const running = await train({ ...environment, broker }, { fit: untilStopped, signal: stop.signal })
    await until(() => expect(running.trainer.retraining()).not.toBeNull())
    isStopDue = true
    await running.trainer.done
    await running.close()
    const again = await train(environment)
    await until(() => expect(retrainedVersions(again).length).toBeGreaterThan(0))
  })

  test('a candidate that is too large for the registry is rejected, and the trainer continues', async () => {
    const environment = await openEnvironment()
    await environment.send(0, 8 * hour)
    const vast = new Array<number>(150_000).fill(1)
    const fit: TrainerOptions['fit'] = async (training, options) => {
      const fitted = await fitHere(training, options)
      return { ...fitted, weights: { ...fitted.weights, weights: vast } as ModelWeights }
    }
    const running = await train(environment, { plan: onDemand, fit })
    await until(() => expect(running.store.status().maturedSeq).toBeGreaterThan(5 * hour))
    const { maturedSeq } = running.store.status()
    running.trainer.requestRetraining('a test')
    const shown = () => running.prometheus.metrics()
    await vi.waitFor(
      async () => expect(await shown()).toMatch(/millrace_trainer_candidates_total\{outcome="rejected"\} 1/),
      { timeout: 30_000 },
    )
    await until(() => expect(running.trainer.retraining()).toBeNull())
    expect(running.registry.state().versions.size).toBe(0)
    await environment.send(8 * hour, hour)
    await until(() => expect(running.store.status().maturedSeq).toBeGreaterThan(maturedSeq))
  })

  test('a champion that turns out worse than the one before is taken back, and is not promoted again', async () => {
    const environment = await openEnvironment()
    await environment.send(0, 6 * hour)
    const running = await train(environment, { plan: onDemand })
    await until(() => expect(running.store.status().maturedSeq).toBeGreaterThan(4 * hour))
    running.trainer.requestRetraining('a test')
    await until(() => expect(champion(running.registry.state())).not.toBeNull())
    await running.close()

    const registry = createRegistryWriter({
      broker: environment.broker.data,
      codec: plan.models.codec,
      topic: topics.models,
      clock: systemClock.nowMs,
    })
    onTestFinished(() => registry.close())
    const good = champion(await registry.refresh())!
    const { kind: _, version: __, createdAtMs: ___, ...draft } = good
    const bad = await registry.publish({
      ...draft,
      model: inverted(good.model),
      origin: 'manual',
      parent: good.version,
    })
    await registry.promote(bad.version, { by: 'a test', reason: 'it looked good', keepsFormer: true })
    const scoring = (version: string, model: ModelWeights): Served => ({ version, score: predictor(model, plan) })
    await environment.send(6 * hour, 8 * hour, scoring(bad.version, bad.model), scoring(good.version, good.model))
    const again = await train(environment, { plan: onDemand })
    await until(() => expect(isRolledBack(again.registry.state(), bad.version)).toBe(true))
    expect(champion(again.registry.state())!.version).not.toBe(bad.version)
    const change = again.registry.state().rolledBack.get(bad.version)!
    expect(change).toMatchObject({ version: good.version, previous: bad.version, by: 'trainer' })
    expect(change.reason).toMatch(/worse than/)
  })
})

function inverted(model: ModelWeights): ModelWeights {
  if (model.kind !== 'logistic') throw new Error(`a ${model.kind} model`)
  return { ...model, weights: model.weights.map((weight) => -weight) }
}
