/**
 * The training set of a pipeline as it can be had: the trainer's file, the snapshot beside it while the trainer has the file, or, where
 * there is neither, one built from Kafka for the time being. Called by `millrace data`.
 */
import { existsSync } from 'node:fs'
import { mkdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createStoreFollower } from '../../online-model/training-store/follow.ts'
import { openTrainingStore, type TrainingStore } from '../../online-model/training-store/store.ts'
import type { Config } from '../../runtime/config/config.ts'
import { createLog } from '../../runtime/log.ts'
import { temporaryFolder } from '../../runtime/temporary-folder.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { type CommandContext, openPipelineBroker, sharedNames } from '../context.ts'
import { shown } from '../terminal.ts'

export interface FoundStore {
  readonly store: TrainingStore
  /** Where it comes from, in words. */
  readonly source: string
  close(): Promise<void>
}

/** Where a pipeline's trainer keeps its store. */
export function trainingStoreFile(config: Pick<Config, 'folder' | 'namespace'>, plan: Pick<Plan, 'name'>): string {
  return join(config.folder, 'training', `${sharedNames(config, plan).group}.duckdb`)
}

/** Where the trainer puts copies for other processes. */
export const snapshotOf = (file: string) => `${file.replace(/\.duckdb$/, '')}.snapshot.duckdb`

/** `file`: instead of the trainer's; it must be there. Answers null after a stop. */
export async function findTrainingStore(
  plan: Plan,
  file: string | undefined,
  context: CommandContext,
): Promise<FoundStore | null> {
  if (file !== undefined && !existsSync(file))
    throw new PipelineError('input_unreadable', `${file} does not exist: expected the file of a training store.`)
  const path = file ?? trainingStoreFile(context.config, plan)
  if (existsSync(path)) {
    try {
      return await openToRead(plan, path, path)
    } catch (error) {
      const isLocked = error instanceof PipelineError && error.code === 'training_store_locked'
      if (!isLocked || !existsSync(snapshotOf(path))) throw error
    }
  }
  const snapshot = snapshotOf(path)
  if (existsSync(snapshot)) return openToRead(plan, snapshot, `${snapshot}, the trainer's last snapshot`)
  return buildFromKafka(plan, context)
}

async function openToRead(plan: Plan, file: string, source: string): Promise<FoundStore> {
  const store = await openTrainingStore({ file, plan, clusterId: null, isReadOnly: true })
  return { store, source, close: () => store.close() }
}

async function buildFromKafka(plan: Plan, context: CommandContext): Promise<FoundStore | null> {
  const { clock, config, random, terminal, stopping } = context
  const signal = stopping.signal()
  const { broker } = openPipelineBroker(plan, config, context)
  const folder = await temporaryFolder('millrace-data-')
  let store: TrainingStore | null = null
  const close = async () => {
    await store?.close()
    await folder.remove()
  }
  try {
    store = await openTrainingStore({
      file: join(folder.path, 'store.duckdb'),
      plan,
      clusterId: await broker.admin.clusterId(),
    })
    const log = createLog(config.logLevel)
    const follower = createStoreFollower({ broker: broker.data, plan, store, clock, log, random, handOut: null })
    let reportedAtMs = clock.elapsedMs()
    // The second time at the end, all partitions are known to have been read that far.
    for (let quiet = 0; quiet < 2; ) {
      if (signal.aborted) return await close().then(() => null)
      const { isAtEnd, status } = await follower.step()
      quiet = isAtEnd ? quiet + 1 : 0
      if (clock.elapsedMs() - reportedAtMs < 2_000) continue
      reportedAtMs = clock.elapsedMs()
      terminal.err(
        `reading from Kafka: ${shown(status.counts.predictions)} predictions, ${shown(status.counts.labels)} labels`,
      )
    }
    await follower.close()
    return { store, source: `${plan.predictions.topic} in Kafka, since there is no trainer's store here`, close }
  } catch (error) {
    await close()
    throw error
  } finally {
    await broker.close()
  }
}

/** The trainer's file itself, made where there is none yet; the trainer must not run. */
export async function openStoreToImport(
  plan: Plan,
  file: string | undefined,
  context: CommandContext,
): Promise<FoundStore> {
  const path = file ?? trainingStoreFile(context.config, plan)
  const { broker } = openPipelineBroker(plan, context.config, context)
  try {
    await mkdir(dirname(path), { recursive: true })
    const store = await openTrainingStore({ file: path, plan, clusterId: await broker.admin.clusterId() })
    return { store, source: path, close: () => store.close() }
  } finally {
    await broker.close()
  }
}
