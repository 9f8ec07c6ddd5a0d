/**
 * Runs this process's tasks until it is told to stop: joins the group, opens the tasks it is given, runs the batch loop, and after a
 * failure that may pass drops all it had in memory and begins anew. Called by `millrace run` and `millrace start`.
 */
import type { FeatureStore } from '../feature-store/store.ts'
import type { Broker, Fetcher, Membership, StageTopics, Worker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { Log } from '../runtime/log.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Plan, RepartitionPlan, StagePlan } from '../schemas/plan/plan.ts'
import type { LoopLimits, OpenTask } from './batch/active-batch.ts'
import { runBatchLoop } from './batch/batch-loop.ts'
import type { CurrentModel } from './batch/scoring.ts'
import { createShadowScoring } from './batch/shadow-scoring.ts'
import type { TaskLimits } from './batch/task.ts'
import type { ProcessingMetrics } from './metrics.ts'
import { outcomeOf } from './outcome.ts'
import type { LogBounds } from './recovery/check-log.ts'
import { openTask } from './recovery/open-task.ts'
import { restoreOffsets } from './recovery/restore-offsets.ts'
import { stageInputs } from './stage-inputs.ts'
import { createProgressConsumer, type ProgressConsumer } from './watermarks/progress-consumer.ts'
import { createProgressExchange, type ProgressExchange } from './watermarks/progress-exchange.ts'
import { createSourceFrontiers, type SourceFrontiers } from './watermarks/source-frontiers.ts'

export interface WorkerLimits extends LoopLimits, TaskLimits {
  /** Rows of entity logs kept in memory by one task. */
  readonly cacheRowsMax: number
  readonly sessionTimeoutMs: number
  readonly transactionTimeoutMs: number
  /** After so long with nothing but failures the process gives up: whoever restarts it should look. */
  readonly outageMaxMs: number
}

export const defaultWorkerLimits: WorkerLimits = {
  batchEventsMax: 1_000,
  pollMaxMs: 100,
  partitionBytesMax: 256 * 1_024,
  commitEveryMs: 10,
  positionEveryMs: 10_000,
  holdMaxMs: 30_000,
  heldMax: 100_000,
  readAheadMax: 4_000,
  cacheRowsMax: 2_000_000,
  sessionTimeoutMs: 10_000,
  transactionTimeoutMs: 10_000,
  outageMaxMs: 300_000,
}

export interface RunWorkerOptions {
  readonly plan: Plan
  readonly broker: Broker
  readonly store: FeatureStore
  readonly clock: Clock
  readonly log: Log
  readonly metrics: ProcessingMetrics
  readonly currentModel: CurrentModel
  /** Consumer group, and prefix of the transactional id. */
  readonly group: string
  /** Stable name of this process within the group. */
  readonly name: string
  readonly limits: WorkerLimits
  readonly isRebuild: boolean
  readonly signal: AbortSignal
  /** From 0 to 1, for the spread of retries. */
  readonly random: () => number
}

export interface RunningWorker {
  /** Tasks at work, and whether they are folding again what the store lacks. */
  state(): { readonly tasks: ReadonlyArray<OpenTask['task']>; readonly isReady: boolean }
  /** Resolves after a stop, rejects when the worker gave up. */
  readonly done: Promise<void>
}

const backoffFirstMs = 50
const backoffMaxMs = 5_000
const ghostSlackMs = 1_000

export function runWorker(options: RunWorkerOptions): RunningWorker {
  const { plan, broker, store, clock, log, metrics, limits, signal } = options
  const shadowScoring = createShadowScoring(log, metrics)
  /** Null while there is no assignment; a spare worker has an empty one. */
  let openTasks: readonly OpenTask[] | null = null
  /** A rebuild throws away what is stored once, not again after a failure or with tasks that come later. */
  let isRebuild = options.isRebuild

  return {
    state: () => ({
      tasks: (openTasks ?? []).map(({ task }) => task),
      isReady: openTasks?.every(({ task }) => !task.isRestoring) ?? false,
    }),
    done: supervise(),
  }

  async function supervise(): Promise<void> {
    let failures = 0
    let failingSinceMs = 0
    const progress = () => metrics.totals.batches + metrics.totals.restored
    while (!signal.aborted) {
      const before = progress()
      try {
        await session()
      } catch (error) {
        if (progress() > before) failures = 0
        failures++
        const nowMs = clock.elapsedMs()
        if (failures === 1) failingSinceMs = nowMs
        const isOver = nowMs - failingSinceMs > limits.outageMaxMs
        const mayPass = error instanceof PipelineError && (error.retry || (await isByGhost(error)))
        if (!mayPass || isOver) throw error
        if (signal.aborted) break
        const delayMs = Math.min(backoffMaxMs, backoffFirstMs * 2 ** (failures - 1)) * (0.5 + options.random() / 2)
        log.warn({ code: error.code, failures, delayMs: Math.round(delayMs) }, error.message)
        await clock.sleep(delayMs)
      }
    }
  }

  /**
   * A join of a former self that was killed may be taken by a busy broker after this one's: such a member never speaks, and is gone once a
   * session is over. Who is still there then is another process.
   */
  async function isByGhost({ code }: PipelineError): Promise<boolean> {
    if (code !== 'superseded' || signal.aborted) return false
    await clock.sleep(limits.sessionTimeoutMs + ghostSlackMs)
    const found = await outcomeOf(broker.group(options.group))
    return found.ok && found.value.members.every(({ worker }) => worker !== options.name)
  }

  /** One producer id: until the broker or the store refuses it, or something breaks. */
  async function session(): Promise<void> {
    const stages = await stageTopics()
    const worker = await broker.worker({
      group: options.group,
      worker: options.name,
      stages,
      sessionTimeoutMs: limits.sessionTimeoutMs,
      transactionTimeoutMs: limits.transactionTimeoutMs,
    })
    try {
      const fetcher = await broker.fetcher()
      try {
        while (!signal.aborted) await generation(worker, fetcher, stages)
      } finally {
        await fetcher.close()
      }
    } finally {
      openTasks = null
      if (signal.aborted) await leave(worker)
      await worker.close()
    }
  }

  /** At a planned end the others have the tasks at once; a process that fails keeps its place for its restart. */
  async function leave(worker: Worker): Promise<void> {
    try {
      await worker.leave()
    } catch (error) {
      if (!(error instanceof PipelineError)) throw error
      log.warn({ code: error.code }, `The group was not left: ${error.message}`)
    }
  }

  /** One assignment of tasks: until the group assigns anew. */
  async function generation(worker: Worker, fetcher: Fetcher, stages: readonly StageTopics[]): Promise<void> {
    try {
      const membership = await worker.join()
      const frontiersByStage = sourceFrontiersOf(stages)
      openTasks = await openAll(worker, membership, stages, frontiersByStage)
      const partitionsOf = partitionsOfFrom(await partitionCounts())
      const exchanges = await openExchanges(openTasks, frontiersByStage, partitionsOf)
      isRebuild = false
      log.info({ tasks: membership.tasks.length, generation: membership.generation }, 'tasks opened')
      await runBatchLoop({
        plan,
        worker,
        membership,
        fetcher,
        tasks: openTasks,
        exchanges,
        partitionsOf,
        currentModel: options.currentModel,
        shadowScoring,
        clock,
        limits,
        metrics,
        isStopping: () => signal.aborted,
      })
    } catch (error) {
      if (!(error instanceof PipelineError) || error.code !== 'rebalance') throw error
      log.info({}, error.message)
    } finally {
      openTasks = null
    }
  }

  /** What is heard on each repartition topic, by the stage that reads it. */
  function sourceFrontiersOf(stages: readonly StageTopics[]): Map<StagePlan, SourceFrontiers> {
    const partitions = new Map(stages.map(({ stage, partitions }) => [stage, partitions]))
    return new Map(
      plan.stages.slice(1).map((stage) => {
        const sources = partitions.get(plan.stages[stage.index - 1]!.entity.name)!
        const rawSources = partitions.get(stage.entity.name)! * stage.rawStreams.length
        return [stage, createSourceFrontiers(sources, rawSources)]
      }),
    )
  }

  async function openExchanges(
    open: readonly OpenTask[],
    frontiersByStage: ReadonlyMap<StagePlan, SourceFrontiers>,
    partitionsOf: (topic: string) => number,
  ): Promise<ProgressExchange[]> {
    const tasksOf = (stage: StagePlan) => open.map(({ task }) => task).filter((task) => task.stage === stage)
    const exchanges: ProgressExchange[] = []
    for (const [reading, sourceFrontiers] of frontiersByStage) {
      const stage = plan.stages[reading.index - 1]!
      const [tasks, readers] = [tasksOf(stage), tasksOf(reading)]
      if (tasks.length + readers.length === 0) continue
      const partitions = partitionsOf(stage.repartitionOut!.topic)
      const progressConsumer =
        readers.length === 0 ? await consumeProgress(stage.repartitionOut!, sourceFrontiers) : null
      exchanges.push(createProgressExchange({ stage, tasks, readers, partitions, sourceFrontiers, progressConsumer }))
    }
    return exchanges
  }

  /** Marks lie in every partition. */
  async function consumeProgress(
    repartition: RepartitionPlan,
    sourceFrontiers: SourceFrontiers,
  ): Promise<ProgressConsumer> {
    const place = { topic: repartition.topic, partition: 0 }
    const [bounds] = await broker.bounds([place])
    return createProgressConsumer(repartition, { ...place, offset: bounds!.end }, sourceFrontiers)
  }

  async function openAll(
    worker: Worker,
    membership: Membership,
    stages: readonly StageTopics[],
    frontiersByStage: ReadonlyMap<StagePlan, SourceFrontiers>,
  ): Promise<OpenTask[]> {
    const [clusterId, bounds] = await Promise.all([broker.clusterId(), boundsOf(membership)])
    const partitionsOfStage = new Map(stages.map(({ stage, partitions }) => [stage, partitions]))
    const opened = membership.tasks.map((assigned) => {
      const stage = plan.stages.find(({ entity }) => entity.name === assigned.stage)!
      const partitions = partitionsOfStage.get(assigned.stage)!
      const before = plan.stages[stage.index - 1]
      return {
        plan,
        stage,
        partition: assigned.partition,
        partitions,
        tasksBefore: before ? partitionsOfStage.get(before.entity.name)! : 0,
        sourceFrontiers: frontiersByStage.get(stage) ?? null,
        broker,
        worker,
        store,
        identity: { clusterId, stateFingerprint: plan.stateFingerprint, partitions },
        limits,
        clock,
        log,
        bounds: stageInputs(plan, stage).map(({ topic }) => bounds.get(`${topic} ${assigned.partition}`)!),
        isRebuild,
      }
    })
    if (isRebuild) await restoreOffsets(opened, { worker, membership, store, log })
    return Promise.all(opened.map(openTask))
  }

  /** Of every input of these tasks, by topic and partition, in one question to each broker. */
  async function boundsOf({ tasks }: Membership): Promise<Map<string, LogBounds>> {
    const places = tasks.flatMap(({ stage: name, partition }) => {
      const stage = plan.stages.find(({ entity }) => entity.name === name)!
      return stageInputs(plan, stage).map(({ topic }) => ({ topic, partition }))
    })
    const bounds = await broker.bounds(places)
    return new Map(bounds.map((bound) => [`${bound.topic} ${bound.partition}`, bound]))
  }

  function partitionCounts(): Promise<Map<string, number | null>> {
    return broker.partitionCounts(plan.topics.map(({ topic }) => topic))
  }

  /** Inputs of a stage must have the same partition count, or partition p of one would not meet partition p of the other. */
  async function stageTopics(): Promise<StageTopics[]> {
    const counts = partitionsOfFrom(await partitionCounts())
    for (const { topic } of plan.topics) counts(topic)
    return plan.stages.map((stage) => {
      const topics = stageInputs(plan, stage).map(({ topic }) => topic)
      const partitions = counts(topics[0]!)
      const other = topics.find((topic) => counts(topic) !== partitions)
      if (other !== undefined) {
        throw new PipelineError(
          'topic_mismatch',
          `Topics ${topics[0]} and ${other} have ${partitions} and ${counts(other)} partitions; stage ${stage.entity.name} ` +
            'consumes both and needs the same number.',
        )
      }
      return { stage: stage.entity.name, topics, partitions }
    })
  }
}

function partitionsOfFrom(counts: ReadonlyMap<string, number | null>): (topic: string) => number {
  return (topic) => {
    const count = counts.get(topic)
    if (!count)
      throw new PipelineError('topic_missing', `Topic ${topic} does not exist. Create it, or run with --create-topics.`)
    return count
  }
}
