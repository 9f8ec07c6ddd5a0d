/**
 * `millrace audit`: follows a pipeline, computes a sample of its outputs again with the oracle, from the inputs of each stage and from the
 * raw topics in event time, and reports what differs.
 */
import { collectDefaultMetrics, Registry } from 'prom-client'
import { isFor } from '../../online-model/models/fits.ts'
import { predictor } from '../../online-model/models/scorer.ts'
import { createRegistryFollower } from '../../online-model/registry/follower.ts'
import type { ReplayClass } from '../../processors/audit/compare-replay.ts'
import { createReplayCounts } from '../../processors/audit/replay-counts.ts'
import { type RunAuditOptions, runAudit } from '../../processors/audit/run-audit.ts'
import { type RunReplayAuditOptions, runReplayAudit } from '../../processors/audit/run-replay-audit.ts'
import { committedDisorder } from '../../processors/recovery/committed-disorder.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import type { Broker, BrokerData } from '../../runtime/broker.ts'
import { createProcessServer } from '../../runtime/http/process-server.ts'
import { listen } from '../../runtime/http/server.ts'
import { createLog, type Log } from '../../runtime/log.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import { type CommandContext, openPipelineBroker, sharedNames } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { createShutdown } from '../shutdown.ts'
import { requireTopics } from '../topics/requirements.ts'
import { drainMaxMs } from '../until-stopped.ts'
import { writeFigures } from '../whole-file.ts'
import { createReplayMetrics, createSkewMetrics } from './audit-metrics.ts'
import { type AuditFigures, auditRoute } from './audit-route.ts'
import { differenceLine, inputsSummary, progressLine, replayLine, replaySummary } from './audit-text.ts'

export interface AuditCommandOptions {
  readonly sample: number
  readonly once?: boolean
  readonly json?: string
}

/** Values printed: of outputs against their inputs, and of predictions against the replay a cause. */
const printedMax = { inputs: 100, replay: 20 }
const progressEveryMs = 10_000

export async function auditCommand(
  definition: string,
  { sample, once: isOnce = false, json }: AuditCommandOptions,
  context: CommandContext,
): Promise<number> {
  const { terminal, config } = context
  const plan = await loadPlan(definition, config)
  const shutdown = createShutdown()
  const log = createLog(config.logLevel)
  const signal = context.stopping.signal()
  const registry = new Registry()
  const report = createReport({ plan, sample, registry, terminal, clock: context.clock, isOnce })
  try {
    const { broker } = openPipelineBroker(plan, config, context)
    shutdown.add('Kafka', broker.close)
    const partitionsOf = await requireTopics(
      broker.data,
      plan.topics.map(({ topic }) => topic),
    )
    const models = createRegistryFollower({
      broker: broker.data,
      plan,
      topic: plan.models.topic,
      printLine: () => undefined,
    })
    shutdown.add('models', models.close)
    if (!isOnce) {
      const isStopping = () => signal.aborted
      const server = auditServer({ plan, broker: broker.data, registry, log, figures: report.figures, isStopping })
      shutdown.add('HTTP server', () => server.close())
      const url = await listen(server, { host: config.httpHost, port: config.auditPort })
      terminal.err(`${plan.name} is being audited. Totals, health and metrics: ${url}/audit`)
    }
    await followBoth({ plan, broker, partitionsOf, models, report, context, log, sample, isOnce, signal })
  } finally {
    await shutdown.close(drainMaxMs)
  }
  const figures = report.figures()
  for (const line of report.summary()) terminal.out(line)
  await writeFigures(json, figures)
  return figures.differing > 0 || figures.replay.differing.unexplained > 0 ? exitCodes.failed : exitCodes.done
}

interface FollowOptions {
  readonly plan: Plan
  readonly broker: Broker
  readonly partitionsOf: (topic: string) => number
  readonly models: ReturnType<typeof createRegistryFollower>
  readonly report: Report
  readonly context: CommandContext
  readonly log: Log
  readonly sample: number
  readonly isOnce: boolean
  readonly signal: AbortSignal
}

/** A failure of one comparison ends the other. */
async function followBoth(options: FollowOptions): Promise<void> {
  const { plan, broker, partitionsOf, models, report, context, log, sample, isOnce } = options
  const { clock, random, config } = context
  const failed = new AbortController()
  const signal = AbortSignal.any([options.signal, failed.signal])
  const shared = { plan, broker: broker.data, partitionsOf, clock, log, random, sample, isOnce, signal }
  const both = [
    runAudit({
      ...shared,
      scoreOf: scorers(plan, models),
      loadModels: models.loadToEnd,
      onCompared: report.inputsCompared,
    }),
    runReplayAudit({
      ...shared,
      hasEarly: () => hasReleasedEarly({ plan, broker, partitionsOf, group: sharedNames(config, plan).group, log }),
      onCompared: report.replayCompared,
    }),
  ]
  await Promise.all(
    both.map((one) =>
      one.catch((error: unknown) => {
        failed.abort()
        throw error
      }),
    ),
  )
}

/** Since the beginning of the state, by the committed positions; where these cannot be read, nothing is put down to early releases. */
async function hasReleasedEarly({
  plan,
  broker,
  partitionsOf,
  group,
  log,
}: Pick<FollowOptions, 'plan' | 'broker' | 'partitionsOf' | 'log'> & { readonly group: string }): Promise<boolean> {
  const partitions = (stage: StagePlan) => partitionsOf(stageInputs(plan, stage)[0]!.topic)
  try {
    const disorders = await Promise.all(
      plan.stages.map((stage) =>
        committedDisorder(broker.groups, group, { plan, stage, partitions: partitions(stage) }),
      ),
    )
    return disorders.some(({ early }) => early > 0)
  } catch (error) {
    // Offsets that expired or belong to others are the doctor's: the audit goes on.
    if (!(error instanceof PipelineError) || error.retry) throw error
    log.warn({ code: error.code }, error.message)
    return false
  }
}

interface Report {
  readonly inputsCompared: RunAuditOptions['onCompared']
  readonly replayCompared: RunReplayAuditOptions['onCompared']
  readonly figures: () => AuditFigures
  readonly summary: () => string[]
}

interface ReportOptions {
  readonly plan: Plan
  readonly sample: number
  readonly registry: Registry
  readonly terminal: Pick<CommandContext['terminal'], 'out' | 'err'>
  readonly clock: CommandContext['clock']
  readonly isOnce: boolean
}

/** Keeps the figures of both comparisons, and prints the first values that differ. */
function createReport({ plan, sample, registry, terminal, clock, isOnce }: ReportOptions): Report {
  const observeInputs = createSkewMetrics(registry)
  const observeReplay = createReplayMetrics(registry)
  const none = { checked: 0, predictions: 0, differing: 0, skipped: {}, pending: 0 }
  let figures: AuditFigures = {
    pipeline: plan.name,
    sample,
    ...none,
    replay: { ...createReplayCounts(), pending: 0 },
  }
  let differing = 0
  const printedOf = new Map<ReplayClass, number>()
  let progressMs = clock.elapsedMs()
  /** Of a run that ends by itself: the others are asked over HTTP. */
  const progress = () => {
    if (!isOnce || clock.elapsedMs() - progressMs < progressEveryMs) return
    progressMs = clock.elapsedMs()
    terminal.err(progressLine(figures))
  }
  return {
    inputsCompared(counts, differences, pending) {
      observeInputs(counts, pending)
      figures = { ...figures, ...counts, skipped: { ...counts.skipped }, pending }
      for (const difference of differences) {
        if (differing++ < printedMax.inputs) terminal.out(differenceLine(difference))
      }
      progress()
    },
    replayCompared(counts, differences, pending) {
      observeReplay(counts)
      const { skipped, largest } = counts
      const replay = { ...counts, differing: { ...counts.differing }, largest: { ...largest }, skipped: { ...skipped } }
      figures = { ...figures, replay: { ...replay, pending } }
      for (const difference of differences) {
        const printed = printedOf.get(difference.class) ?? 0
        printedOf.set(difference.class, printed + 1)
        if (printed < printedMax.replay) terminal.out(replayLine(difference))
      }
      progress()
    },
    figures: () => figures,
    summary: () => [
      inputsSummary(figures, Math.max(0, differing - printedMax.inputs)),
      ...replaySummary(figures.replay),
    ],
  }
}

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
