/**
 * The embedded environment: broker and store in the memory of this process, which also runs the production process and the trainer.
 * Opened for `start --embedded`, `verify --embedded`, and where `start` finds no servers.
 */
import { createMemoryStore } from '../../feature-store/memory-store.ts'
import { parseConfig } from '../../runtime/config/config.ts'
import { createLog } from '../../runtime/log.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { createMemorySchemaRegistry, needsRegistry } from '../../runtime/memory/schema-registry.ts'
import { createSchemaAwareBroker } from '../../runtime/schema-aware-broker.ts'
import { openTrainer } from '../learn/open-trainer.ts'
import { train } from '../learn/train.ts'
import { startLiveProcess } from '../run/live-process.ts'
import type { Parts, RunEnvironment, Subject } from './environment.ts'

/** Size limit of all topics together; the oldest records are dropped first. */
export const embeddedBytesMax = 256 * 1_024 * 1_024
/** The producer and the consumer share one thread: without this limit the producer would fill the broker before anything is read. */
const inFlightMax = 20_000

export async function openEmbeddedEnvironment(
  { definition, namespace, plan }: Subject,
  parts: Parts,
): Promise<RunEnvironment> {
  const { context, shutdown, signal, giveUp } = parts
  const { clock, random, terminal } = context
  const config = { ...context.config, namespace }
  const { logLevel } = parseConfig({ MILLRACE_LOG_LEVEL: 'warn', ...context.env })
  const memory = createMemoryBroker({ clock, bytesMax: embeddedBytesMax })
  const broker = createSchemaAwareBroker(memory, {
    schemas: plan.schemas,
    registry: needsRegistry(plan.schemas.writers) ? createMemorySchemaRegistry() : null,
  })
  shutdown.add('broker in memory', broker.close)
  // A store in memory never loses its latest writes, so no recent steps need to be kept.
  const store = createMemoryStore({ tailStepsMax: 0 })
  return {
    broker,
    isDurable: false,
    inFlightMax,
    async run() {
      const live = await startLiveProcess({
        plan,
        config,
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
        random,
        log: createLog(logLevel),
        signal,
        shutdown,
      })
      trainer.done.catch(giveUp)
      return null
    },
    train() {
      terminal.out(
        '  While the model is fitted, nothing is scored and HTTP does not answer: everything runs in one thread.',
      )
      return train(plan, {}, { broker, clock, terminal })
    },
  }
}
