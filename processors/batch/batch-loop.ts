/**
 * The pipeline, one numbered batch at a time: records of this process's tasks in, features into the store, scored events into Kafka.
 *
 *   1 poll · 2 decode and validate · 3 load state · 4 fold and read features · 5 score · 6 publish outputs and consumed offsets in one
 *   Kafka transaction · 7 apply state and position to the store in one fenced step a task · 8 next
 *
 * Exactly once, 6 commits before 7 applies, so the store is never ahead of Kafka; a crash between them leaves it behind, and whoever
 * opens the task next folds the difference again without publishing (`open-task.ts`). At least once, 6 publishes outside a transaction and
 * offsets are committed after 7: the store's position alone says what is done. Steps 1 to 5 of the next batch overlap 6 and 7 of this one
 * when there is a backlog. Any failure ends the loop: nothing in memory is trusted after it, and the tasks are opened anew.
 */
import type { TaskStore } from '../../feature-store/store.ts'
import { storeKeysMax } from '../../feature-store/store.ts'
import type { FetchedPartition, Fetcher, Membership, OffsetToCommit, OutRecord, Worker } from '../../runtime/broker.ts'
import type { Clock } from '../../runtime/clock.ts'
import { originOfOrder } from '../../schemas/kernel/canonical-order.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import type { ProcessingMetrics } from '../metrics.ts'
import { got, type Outcome, outcomeOf } from '../outcome.ts'
import { encodePosition } from '../position.ts'
import type { BatchContext, ProgressExchange, ProgressUpdate } from '../watermarks/progress-exchange.ts'
import type { EntityCache } from './entity-cache.ts'
import type { Fold, Folded } from './fold.ts'
import { deadLetterRecords, type Output, predictionRecords, rejectionOf, repartitionRecords } from './outputs.ts'
import type { CurrentModel } from './scoring.ts'
import type { ShadowScoring } from './shadow-scoring.ts'
import type { Task, TaskBatch } from './task.ts'

export interface LoopLimits {
  /** Events of one task in one batch. */
  readonly batchEventsMax: number
  /** Longest wait of a fetch that finds nothing. */
  readonly pollMaxMs: number
  readonly partitionBytesMax: number
  /** Without a backlog, transactions begin at least this far apart, so that one carries many events. */
  readonly commitEveryMs: number
  /** See `TaskLimits`. */
  readonly heldMax: number
  /** Positions that moved without an event are committed this often. */
  readonly positionEveryMs: number
}

/** A task with its part of the store. */
export interface OpenTask {
  readonly task: Task
  readonly store: TaskStore
  readonly cache: EntityCache
  readonly fold: Fold
  /** Position of the last batch handed to step 7: what the next step starts from. */
  position: string | null
  /** Greatest event time folded. */
  newestTime: number
  positionTakenMs: number
}

export interface LoopParts {
  readonly plan: Plan
  readonly worker: Worker
  readonly membership: Membership
  readonly fetcher: Fetcher
  readonly tasks: readonly OpenTask[]
  /** One for each repartition topic that the tasks feed or read. */
  readonly exchanges: readonly ProgressExchange[]
  readonly partitionsOf: (topic: string) => number
  readonly currentModel: CurrentModel
  readonly shadowScoring: ShadowScoring
  readonly clock: Clock
  readonly limits: LoopLimits
  readonly metrics: ProcessingMetrics
  readonly isStopping: () => boolean
}

/** One task's share of a batch on its way through the steps. */
interface Share {
  readonly open: OpenTask
  readonly batch: TaskBatch
  readonly keys: ReadonlySet<string>
  readonly outputs: Output[]
  readonly rejections: RejectedRecord[]
}

interface DueUpdate {
  readonly exchange: ProgressExchange
  readonly update: ProgressUpdate
  readonly context: BatchContext
}

/** Runs until `isStopping`; finishes the batch it is in. Throws what ended it. */
export async function runBatchLoop(parts: LoopParts): Promise<void> {
  const { plan, worker, membership, fetcher, tasks, exchanges, partitionsOf, currentModel, clock, limits, metrics } =
    parts
  const progressConsumers = exchanges.flatMap(({ progressConsumer }) => progressConsumer ?? [])
  /** Fetches begun, and the one that was answered last. */
  let round = 0
  let answered = 0
  let isConfirming = false
  let number = 0
  let fetching: Promise<Outcome<FetchedPartition[]>> | null = null
  let committing: Promise<Outcome<void>> = Promise.resolve({ ok: true, value: undefined })
  let commitBeganMs = Number.NEGATIVE_INFINITY

  try {
    while (!parts.isStopping()) {
      if (!worker.isCurrent(membership))
        throw new PipelineError('rebalance', 'The consumer group is assigning its tasks anew.')
      if (!isBacklogged()) {
        got(await committing)
        await pace()
      }

      // 1 poll
      const fetched = got(await (fetching ?? poll(waitMs())))
      fetching = null

      // 2 decode and validate
      metrics.time('decode', () => accept(fetched))
      if (awaitsEnd()) continue
      if (isBacklogged()) fetching = poll(0)
      const beganMs = clock.elapsedMs()
      const shares = takeShares()
      const updates = dueUpdates(shares)
      if (shares.length === 0 && updates.length === 0) continue
      number++

      // 3 load state
      await load(shares)

      // 4 fold and read features
      metrics.time('fold', () => fold(shares))

      // 5 score
      metrics.time('score', () => score(shares))

      // 6 publish, then 7 apply, while 8 the next batch begins
      const { records, offsets } = metrics.time('encode', () => publication(shares, updates))
      const steps = stepsOf(shares)
      got(await committing)
      commitBeganMs = clock.elapsedMs()
      committing = outcomeOf(commit(records, offsets, steps, shares, beganMs))
    }
  } finally {
    await fetching
    got(await committing)
  }

  function accept(fetched: readonly FetchedPartition[]): void {
    const nowMs = clock.nowMs()
    // One fetch is under way at a time, so that the last one begun is the one that answered.
    answered = round
    for (const exchange of exchanges) exchange.turn()
    for (const partition of fetched) {
      const open = taskOf(partition)
      if (open) open.task.accept(partition, answered, nowMs)
      else
        progressConsumers
          .find((progressConsumer) => progressConsumer.wanted().topic === partition.topic)!
          .accept(partition)
    }
  }

  function taskOf({ topic, partition }: FetchedPartition): OpenTask | undefined {
    return tasks.find(({ task }) => task.partition === partition && task.inputs.some((input) => input.topic === topic))
  }

  function poll(maxWaitMs: number): Promise<Outcome<FetchedPartition[]>> {
    round++
    const nowMs = clock.nowMs()
    const wanted = tasks.flatMap(({ task }) => task.wanted(nowMs))
    const isReadAhead = tasks.length > 0 && wanted.length === 0
    for (const progressConsumer of progressConsumers) wanted.push(progressConsumer.wanted())
    // Everything is read far enough ahead, or there is no task: others get their turn meanwhile.
    const waitMs = isReadAhead ? 1 : maxWaitMs
    if (wanted.length > 0)
      return outcomeOf(fetcher.fetch(wanted, { maxWaitMs: waitMs, partitionBytesMax: limits.partitionBytesMax }))
    return outcomeOf(clock.sleep(isReadAhead ? waitMs : limits.pollMaxMs).then(() => []))
  }

  /**
   * Whether one more fetch, which does not wait, comes before the batch is taken: an event needs to know that the other inputs of its
   * task, and of the other tasks of its stage, are at their end.
   */
  function awaitsEnd(): boolean {
    const nowMs = clock.nowMs()
    if (tasks.some(({ task }) => task.awaitsEnd(nowMs))) return true
    isConfirming = !isConfirming && !isBacklogged() && tasks.some(hasUnconfirmed)
    return isConfirming
  }

  /** Its events go to the next stage once a later fetch has told how far the other tasks are. */
  function hasUnconfirmed({ task }: OpenTask): boolean {
    return task.stage.repartitionOut !== null && task.topRound() === answered
  }

  /** An event that only waits for news of the end must not wait for a long poll. */
  function waitMs(): number {
    const nowMs = clock.nowMs()
    const isUrgent = (open: OpenTask) => open.task.isRestoring || open.task.awaitsEnd(nowMs) || hasUnconfirmed(open)
    return tasks.some(isUrgent) || exchanges.some((exchange) => exchange.isOwed()) ? 0 : limits.pollMaxMs
  }

  /** More is to be had at once than one batch takes. */
  function isBacklogged(): boolean {
    return tasks.some(({ task }) => task.inputs.some((input) => input.lag > 0))
  }

  async function pace(): Promise<void> {
    const restMs = commitBeganMs + limits.commitEveryMs - clock.elapsedMs()
    if (restMs > 0) await clock.sleep(restMs)
  }

  function takeShares(): Share[] {
    const nowMs = clock.nowMs()
    const readTimes = slowestReadTimes()
    const shares: Share[] = []
    for (const open of tasks) {
      const bounds = {
        eventsMax: limits.batchEventsMax,
        keysMax: storeKeysMax,
        untilTime: untilTime(open.task) ?? readTimes.get(open.task.stage) ?? Number.POSITIVE_INFINITY,
        beforeRound: open.task.stage.repartitionOut ? answered : Number.POSITIVE_INFINITY,
      }
      const batch = open.task.take(nowMs, bounds) ?? movedPosition(open, nowMs)
      if (!batch) continue
      open.positionTakenMs = nowMs
      const needed = batch.events.filter((event) => event.key !== null && open.fold.needsLog(event.stream))
      shares.push({
        open,
        batch,
        keys: new Set(needed.map((event) => event.key!)),
        outputs: [],
        rejections: [...batch.rejections],
      })
    }
    return shares
  }

  function movedPosition(open: OpenTask, nowMs: number): TaskBatch | null {
    return nowMs - open.positionTakenMs >= limits.positionEveryMs ? open.task.takePosition() : null
  }

  /**
   * On a backlog no task goes beyond what every other of its stage has read: else the next stage would have to hold all that the slow
   * ones have not sent yet.
   */
  function slowestReadTimes(): Map<StagePlan, number> {
    const times = new Map<StagePlan, number>()
    for (const { task } of tasks) {
      const { stage } = task
      if (stage.repartitionOut)
        times.set(stage, Math.min(times.get(stage) ?? Number.POSITIVE_INFINITY, task.readTime()))
    }
    return times
  }

  function untilTime(task: Task): number | null {
    return exchanges.find(({ stage }) => stage === task.stage)?.untilTime(task, limits.heldMax / 2) ?? null
  }

  /** What the next stages are told with this transaction. */
  function dueUpdates(shares: readonly Share[]): DueUpdate[] {
    const sending = new Set(shares.filter(({ batch }) => isLive(batch)).map(({ open }) => open.task.stage))
    return exchanges.flatMap((exchange) => {
      const context = { isSending: sending.has(exchange.stage), answered }
      const update = exchange.due(context)
      return update ? [{ exchange, update, context }] : []
    })
  }

  async function load(shares: readonly Share[]): Promise<void> {
    const began = clock.elapsedMs()
    await Promise.all(
      shares.map(async ({ open, keys }) => {
        const missing = open.cache.missing(keys)
        if (missing.length === 0) return
        const logs = await open.store.load(missing)
        missing.forEach((key, i) => {
          open.cache.put(key, logs[i]!)
        })
      }),
    )
    metrics.took('load', clock.elapsedMs() - began)
  }

  function fold(shares: readonly Share[]): void {
    for (const { open, batch, outputs, rejections } of shares) {
      const { stage } = open.task
      for (const event of batch.events) {
        if (event.time > open.newestTime) open.newestTime = event.time
        const log = event.key !== null && open.fold.needsLog(event.stream) ? open.cache.touch(event.key, number) : null
        const floorTime = Math.min(open.newestTime, batch.position.retentionWatermark) - stage.entity.retentionMs
        const folded = event.isRepeat ? duplicate : open.fold.fold(event, log, floorTime)
        if (folded.kind === 'folded') {
          outputs.push({
            event: folded.order === event.order ? event : { ...event, origin: originOfOrder(folded.order) },
            slots: folded.slots,
            vector: folded.vector,
            score: null,
            modelVersion: null,
            reasons: [],
            shadow: [],
          })
        } else if (folded.kind === 'refused') rejections.push(rejectionOf(plan, stage, event, [folded.problem]))
        else if (!batch.isRestore) metrics.duplicate(stage.entity.name)
      }
    }
  }

  function score(shares: readonly Share[]): void {
    const model = currentModel()
    if (!model) return
    for (const { batch, outputs } of shares) {
      if (batch.isRestore) continue
      for (const output of outputs) {
        if (!output.vector) continue
        output.score = model.score(output.vector)
        output.modelVersion = model.version
        output.reasons = model.reasons(output.vector)
      }
    }
    const { shadows = [] } = model
    if (shadows.length === 0) return
    const live = shares.flatMap(({ batch, outputs }) => (batch.isRestore ? [] : outputs))
    metrics.time('shadow', () => parts.shadowScoring.score(shadows, live))
  }

  function publication(shares: readonly Share[], updates: readonly DueUpdate[]) {
    const records: OutRecord[] = []
    const offsets: OffsetToCommit[] = []
    for (const { open, batch, outputs, rejections } of shares) {
      if (batch.isRestore) continue
      const options = { plan, stage: open.task.stage, partition: open.task.partition, partitionsOf }
      for (const sent of [
        repartitionRecords(options, outputs, batch.stagePosition),
        predictionRecords(options, outputs, batch.stagePosition),
        deadLetterRecords(options, rejections),
      ]) {
        for (const record of sent) records.push(record)
      }
      const metadata = encodePosition(batch.position)
      batch.position.inputs.forEach(({ resumeOffset }, i) => {
        offsets.push({
          topic: open.task.inputs[i]!.topic,
          partition: open.task.partition,
          offset: resumeOffset,
          metadata,
        })
      })
    }
    // Behind the events: a mark counts for what lies before it.
    for (const { exchange, update, context } of updates) records.push(...exchange.say(update, context))
    return { records, offsets }
  }

  /** The bytes are taken now: the next batch may fold on while this one is on its way. */
  function stepsOf(shares: readonly Share[]) {
    if (number % trimEvery === 0) for (const { cache } of tasks) cache.trim(number - 1)
    return shares.map(({ open, batch, keys }) => {
      const to = encodePosition(batch.position)
      const step = { from: open.position, to, writes: open.cache.takeWrites(keys) }
      open.position = to
      return { store: open.store, step }
    })
  }

  async function commit(
    records: readonly OutRecord[],
    offsets: readonly OffsetToCommit[],
    steps: ReturnType<typeof stepsOf>,
    shares: readonly Share[],
    beganMs: number,
  ): Promise<void> {
    const began = clock.elapsedMs()
    const isExactlyOnce = plan.delivery === 'exactly-once'
    if (isExactlyOnce && records.length + offsets.length > 0) await worker.transact(records, offsets, membership)
    if (!isExactlyOnce && records.length > 0) await worker.publish(records)
    const published = clock.elapsedMs()
    metrics.took('publish', published - began)
    await Promise.all(steps.map(({ store, step }) => (step.from === step.to ? null : store.apply(step))))
    metrics.took('apply', clock.elapsedMs() - published)
    // The store's position decides what is published again; offsets are what it begins from when it is lost.
    if (!isExactlyOnce && offsets.length > 0) await worker.commitOffsets(offsets, membership)
    metrics.took('batch', clock.elapsedMs() - beganMs)
    for (const { open, batch, outputs, rejections } of shares) metrics.committed(open.task, batch, outputs, rejections)
  }
}

function isLive(batch: TaskBatch): boolean {
  return !batch.isRestore && batch.events.length > 0
}

const duplicate: Folded = { kind: 'duplicate' }

/** Entities leave the cache every so many batches: counting its rows takes a while. */
const trimEvery = 64
