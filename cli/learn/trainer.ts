/** `millrace trainer`: learns from a running pipeline and publishes what is better, until it is stopped. */
import { constants, setPriority } from 'node:os'
import { collectDefaultMetrics } from 'prom-client'
import { trainerRoutes } from '../../online-model/trainer/routes.ts'
import { createProcessServer } from '../../runtime/http/process-server.ts'
import { listen } from '../../runtime/http/server.ts'
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
  const { config, terminal, clock, random } = context
  const plan = await loadPlan(definition, config)
  const shutdown = createShutdown()
  const signal = context.stopping.signal()
  const log = createLog(config.logLevel)
  // Everything else on this machine has priority.
  setPriority(constants.priority.PRIORITY_BELOW_NORMAL)

  async function open(): Promise<{ readonly ended: Promise<void> }> {
    const { broker } = openPipelineBroker(plan, config, context)
    shutdown.add('Kafka', broker.close)
    await requireTopics(broker.data, [
      plan.predictions.topic,
      plan.models.topic,
      plan.streams[plan.label.stream]!.topic,
    ])
    await broker.admin.requireRights([{ topic: plan.models.topic, rights: ['Write'] }])
    const { trainer, store, registry, prometheus } = await openTrainer({
      definition,
      plan,
      config,
      broker,
      file: options.file ?? trainingStoreFile(config, plan),
      isRebuild: options.rebuild ?? false,
      seed: options.seed,
      clock,
      random,
      log,
      signal,
      shutdown,
    })
    collectDefaultMetrics({ register: prometheus })
    const server = createProcessServer({
      api: {
        title: `${plan.name}: trainer`,
        version: String(plan.version),
        description: `What the models of the pipeline ${plan.name} learn from and how good they are.`,
      },
      pages: [trainerRoutes({ plan, store, trainer, state: registry.state })],
      health: {
        checks: [{ part: 'Kafka', check: () => broker.data.partitionCounts([plan.predictions.topic]) }],
        isStopping: () => signal.aborted,
      },
      registry: prometheus,
      log,
    })
    shutdown.add('HTTP server', () => server.close())
    const url = await listen(server, { host: config.httpHost, port: config.trainerPort })
    terminal.err(`The trainer of ${plan.name} is running. Models, predictions, health and metrics: ${url}/trainer`)
    return { ended: trainer.done }
  }

  return untilStopped(open, { shutdown, signal, context, log })
}
