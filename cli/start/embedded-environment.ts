/**
 * A pipeline inside this process and nowhere else: broker and store are its memory, the production process and the trainer run in it.
 * Opened for `start --embedded`, `verify --embedded`, and where `start` finds no servers.
 */
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { parseConfig } from '../../runtime/config/config.ts'
import { createLog } from '../../runtime/log.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import { openTrainer } from '../learn/open-trainer.ts'
import { train } from '../learn/train.ts'
import { startLiveProcess } from '../run/live-process.ts'
import type { Ground, Parts, Subject } from './environment.ts'

/** What all topics take together; the oldest records go first. */
export const embeddedBytesMax = 256 * 1_024 * 1_024
/** The broker is full at once when nobody waits for the one that reads it, and that one has the same thread. */
const unansweredMax = 20_000

export async function openEmbeddedGround({ definition, namespace, plan }: Subject, parts: Parts): Promise<Ground> {
  const { context, shutdown, signal, giveUp } = parts
  const { clock, random, terminal } = context
  const config = { ...context.config, namespace }
  const { logLevel } = parseConfig({ MILLRACE_LOG_LEVEL: 'warn', ...context.environment })
  const memory = createMemoryBroker({ clock, bytesMax: embeddedBytesMax })
  const broker = createSchemaAwareBroker(memory, { schemas: plan.schemas, registry: null })
  shutdown.add('broker in memory', broker.close)
  // Nothing takes its last steps back here.
  const store = createMemoryStore({ tailStepsMax: 0 })
  return {
    broker,
    isKept: false,
    unansweredMax,
    async run({ isReplay }) {
      const live = await startLiveProcess({
        plan,
        config: isReplay ? { ...config, alignment: 'replay' } : config,
        broker,
        registry: null,
        openStore: async () => store,
        isCreatingTopics: true,
        isRebuild: false,
        clock,
        log: createLog(logLevel),
        random,
        signal,
        shutdown,
      })
      live.ended.catch(giveUp)
      return [live.url]
    },
    async learn() {
      const { trainer } = await openTrainer({
        definition,
        plan,
        config,
        broker,
        file: ':memory:',
        isRebuild: false,
        seed: 0,
        clock,
        log: createLog(logLevel),
        signal,
        shutdown,
      })
      trainer.done.catch(giveUp)
      return null
    },
    train() {
      terminal.out('  Nothing is scored and HTTP does not answer while the model is fitted: it is all one thread.')
      return train(plan, {}, { broker, clock, terminal })
    },
  }
}
