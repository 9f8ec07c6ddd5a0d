/** `millrace audit`: follows a pipeline, computes a sample of its outputs again with the oracle, and reports what differs. */
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client'
import { isFor } from '../../online-model/models/fits.ts'
import { predictor } from '../../online-model/models/scorer.ts'
import { createRegistryFollower } from '../../online-model/registry/follower.ts'
import type { AuditCounts } from '../../processors/audit/audit-state.ts'
import type { Difference } from '../../processors/audit/audited-output.ts'
import { runAudit } from '../../processors/audit/run-audit.ts'
import type { BrokerData } from '../../runtime/broker.ts'
import { createProcessServer } from '../../runtime/http/process-server.ts'
import { listen } from '../../runtime/http/server.ts'
import { createLog, type Log } from '../../runtime/log.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { createShutdown } from '../shutdown.ts'
import { shown } from '../terminal.ts'
import { requireTopics } from '../topics/requirements.ts'
import { drainMaxMs } from '../until-stopped.ts'
import { writeFigures } from '../whole-file.ts'
import { type AuditFigures, auditRoute } from './audit-route.ts'

export interface AuditCommandOptions {
  readonly sample: number
  readonly once?: boolean
  readonly json?: string
}

const differencesPrintedMax = 100

export async function auditCommand(
  definition: string,
  { sample, once: isOnce = false, json }: AuditCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal, clock, config, random } = context
  const plan = await loadPlan(definition, config)
  const shutdown = createShutdown()
  const log = createLog(config.logLevel)
  const signal = context.stopping.signal()
  let figures: AuditFigures = {
    pipeline: plan.name,
    sample,
    checked: 0,
    predictions: 0,
    differing: 0,
    skipped: {},
    pending: 0,
  }
  let printed = 0

  try {
    const { broker } = openPipelineBroker(plan, config, context)
    shutdown.add('Kafka', broker.close)
    const topics = plan.topics.map(({ topic }) => topic)
    const partitionsOf = await requireTopics(broker.data, topics)
    const models = createRegistryFollower({
      broker: broker.data,
      plan,
      topic: plan.models.topic,
      printLine: () => undefined,
    })
    shutdown.add('models', models.close)
    const registry = new Registry()
    const observe = createAuditMetrics(registry)
    if (!isOnce) {
      const server = auditServer({
        plan,
        broker: broker.data,
        registry,
        log,
        figures: () => figures,
        isStopping: () => signal.aborted,
      })
      shutdown.add('HTTP server', () => server.close())
      const url = await listen(server, { host: config.httpHost, port: config.auditPort })
      terminal.err(`${plan.name} is being audited. Totals, health and metrics: ${url}/audit`)
    }
    await runAudit({
      plan,
      broker: broker.data,
      partitionsOf,
      clock,
      log,
      random,
      sample,
      isOnce,
      signal,
      scoreOf: scorers(plan, models),
      loadModels: models.loadToEnd,
      onCompared(counts, differences, pending) {
        observe(counts, pending)
        const { checked, predictions, differing, skipped } = counts
        figures = { pipeline: plan.name, sample, checked, predictions, differing, skipped: { ...skipped }, pending }
        for (const difference of differences) {
          if (printed++ < differencesPrintedMax) terminal.out(lineOf(difference))
        }
      },
    })
  } finally {
    await shutdown.close(drainMaxMs)
  }
  terminal.out(summaryOf(figures, printed))
  await writeFigures(json, figures)
  return figures.differing > 0 ? exitCodes.failed : exitCodes.done
}

type Plan = Awaited<ReturnType<typeof loadPlan>>

interface AuditServerOptions {
  readonly plan: Plan
  readonly broker: BrokerData
  readonly registry: Registry
  readonly log: Log
  readonly figures: () => AuditFigures
  readonly isStopping: () => boolean
}

function auditServer({ plan, broker, registry, log, figures, isStopping }: AuditServerOptions) {
  collectDefaultMetrics({ register: registry })
  return createProcessServer({
    api: {
      title: `${plan.name}: audit`,
      version: String(plan.version),
      description: `How the outputs of the pipeline ${plan.name} compare with what the oracle computes.`,
    },
    pages: [auditRoute(figures)],
    health: {
      checks: [{ part: 'Kafka', check: () => broker.partitionCounts([plan.scored.topic]) }],
      isStopping,
    },
    registry,
    log,
  })
}

/** Weights are flattened once a version. */
function scorers(plan: Plan, models: ReturnType<typeof createRegistryFollower>) {
  const known = new Map<string, (vector: ArrayLike<number>) => number>()
  return (version: string) => {
    const found = known.get(version)
    if (found) return found
    const made = models.state().versions.get(version)
    if (!made || !isFor(made, plan)) return null
    const score = predictor(made.model, plan)
    known.set(version, score)
    return score
  }
}

/** Counters follow the totals, which never decrease within a process. */
function createAuditMetrics(registry: Registry) {
  const registers = [registry]
  const counter = (name: string, help: string, labelNames: string[] = []) =>
    new Counter({ name, help, labelNames, registers })
  const checked = counter('millrace_skew_checked_total', 'Outputs of stages recomputed and compared.')
  const differing = counter(
    'millrace_skew_differing_total',
    'Outputs with a value that differs from the recomputed one.',
  )
  const skipped = counter('millrace_skew_skipped_total', 'Outputs that could not be checked, by reason.', ['reason'])
  const waiting = new Gauge({
    name: 'millrace_skew_pending_outputs',
    help: 'Outputs whose inputs are still to be read.',
    registers,
  })
  const before = { checked: 0, differing: 0, skipped: new Map<string, number>() }
  return (counts: Readonly<AuditCounts>, pending: number): void => {
    checked.inc(counts.checked - before.checked)
    differing.inc(counts.differing - before.differing)
    before.checked = counts.checked
    before.differing = counts.differing
    for (const [reason, count] of Object.entries(counts.skipped)) {
      skipped.inc({ reason }, count - (before.skipped.get(reason) ?? 0))
      before.skipped.set(reason, count)
    }
    waiting.set(pending)
  }
}

function lineOf({ stage, id, time, origin, name, expected, logged }: Difference): string {
  const at = `${id} of ${new Date(time).toISOString()} (partition ${origin.partition}, offset ${origin.offset})`
  return `DIFFERS  ${stage}  ${name}: expected ${expected ?? 'missing'}, logged ${logged ?? 'missing'}, event ${at}`
}

function summaryOf({ checked, predictions, differing, skipped, sample }: AuditFigures, printed: number): string {
  const reasons = Object.entries(skipped).map(([reason, count]) => `${shown(count)} ${reason}`)
  const unprinted =
    printed > differencesPrintedMax ? ` (${shown(printed - differencesPrintedMax)} more values differ)` : ''
  return (
    `${shown(checked)} outputs of ${sample * 100} % of the entities checked, ${shown(predictions)} of them predictions: ` +
    `${shown(differing)} differ${unprinted}. Not checked: ${reasons.length > 0 ? reasons.join(', ') : 'none'}.`
  )
}
