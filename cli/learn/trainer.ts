/** `millrace trainer`: learns from a running pipeline and publishes what is better, until it is stopped. */
import { constants, setPriority } from 'node:os'
import { collectDefaultMetrics } from 'prom-client'
import { trainerRoutes } from '../../online-model/trainer/routes.ts'
import { metricsRoute } from '../../runtime/http/metrics-route.ts'
import { createHttpServer, listen } from '../../runtime/http/server.ts'
import { createLog } from '../../runtime/log.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { loadPlan } from '../load-plan.ts'
import { createShutdown } from '../shutdown.ts'
import { requireTopics } from '../topics/requirements.ts'
import { untilStopped } from '../until-stopped.ts'
import { openTrainer } from './open-trainer.ts'
import { trainingStoreFile } from './open-training-store.ts'

export interface TrainerCommandOptions {
  /** Of the training store; derived from the folder and the pipeline unless given. */
  readonly file?: string
  readonly rebuild?: boolean
  readonly seed: number
}

export async function trainerCommand(
  definition: string,
  options: TrainerCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  const plan = await loadPlan(definition, config.namespace)
  const shutdown = createShutdown()
  const signal = context.stopping.signal()
  const log = createLog(config.logLevel)
  // Everything else on this machine has priority.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)

  async function open(): Promise<{ readonly ended: Promise<void> }> {
    const { broker } = openPipelineBroker(plan, config, context)
    shutdown.add('Kafka', broker.close)
    await requireTopics(broker, [plan.predictions.topic, plan.models.topic, plan.streams[plan.label.stream]!.topic])
    await broker.requireRights([{ topic: plan.models.topic, rights: ['Write'] }])
    const { trainer, store, registry, prometheus } = await openTrainer({
      definition,
      plan,
      config,
      broker,
      file: options.file ?? trainingStoreFile(config, plan),
      isRebuild: options.rebuild ?? false,
      seed: options.seed,
      clock,
      log,
      signal,
      shutdown,
    })
    collectDefaultMetrics({ register: prometheus })
    const server = createHttpServer({ log })
    server.get('/health/live', async () => ({ status: 'live' }))
    server.register(metricsRoute(prometheus))
    server.register(trainerRoutes({ plan, store, trainer, state: registry.state }))
    shutdown.add('HTTP server', () => server.close())
    const url = await listen(server, { host: config.httpHost, port: config.trainerPort })
    terminal.err(`The trainer of ${plan.name} is running. Models, predictions, health and metrics: ${url}/trainer`)
    return { ended: trainer.done }
  }

  return untilStopped(open, { shutdown, signal, context, log })
}
