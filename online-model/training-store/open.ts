/** A training store's file, opened and held against what it was made for; a new one is made where there is none. Called by the store. */
import assert from 'node:assert/strict'
import { rm } from 'node:fs/promises'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan, StreamPlan } from '../../schemas/plan/plan.ts'
import type { MaturityPlan } from './apply.ts'
import { type Database, type DatabaseOptions, openDatabase } from './database.ts'
import { createDue, createStaged, type Layout, layoutOf, layoutVersion } from './layout.ts'
import { type Meanings, migrate, sharedFeatures } from './migrate.ts'
import { allEarlier, emptyProgress, type Progress, progressFromJson, progressToJson } from './progress.ts'
import type { StoreLimits } from './trim.ts'

export type StorePlan = Pick<Plan, 'name' | 'features' | 'fingerprint' | 'streams' | 'label' | 'predictions' | 'topics'>

export interface OpenStoreOptions {
  /** Path of the DuckDB file, or `:memory:`. */
  readonly file: string
  readonly plan: StorePlan
  /** Kafka cluster that the positions are of; null where it is not known to one who only reads. */
  readonly clusterId: string | null
  /** Event time; as long as the topic of predictions keeps them unless given. */
  readonly retentionMs?: number
  /** Most rows that wait, and most that are mature: 2,000,000 unless given. */
  readonly rowsMax?: number
  /** 256 MiB unless given. */
  readonly memoryBytesMax?: number
  /** 1 unless given. */
  readonly threads?: number
  /** Consumers of the rows that mature: rows that one of them has not taken yet are kept. */
  readonly consumers?: readonly string[]
  /** A file of another definition or cluster, or one that cannot be read, is removed and built again. */
  readonly rebuild?: boolean
  /** For snapshots: changes nothing, and any number of processes can do it at once. */
  readonly isReadOnly?: boolean
}

/** What a store was made for: positions, vectors and labels mean something else elsewhere. */
export interface About {
  readonly layout: number
  readonly pipeline: string
  readonly fingerprint: string
  readonly predictions: string
  readonly label: string
  readonly outcome: string
  readonly cluster: string
  /** Absent in files of earlier versions of Millrace. */
  readonly features?: Meanings
}

export interface OpenedStore {
  readonly file: string
  readonly database: Database
  readonly layout: Layout
  readonly maturity: MaturityPlan
  readonly limits: StoreLimits
  readonly about: About
  readonly progress: Progress
  /** `seq` up to which each of the named consumers has saved its state. */
  readonly consumed: ReadonlyMap<string, number>
  /** Fingerprint of the definition that the file was of until it was opened; null where it was of this one. */
  readonly earlierDefinition: string | null
}

const rowsMaxDefault = 2_000_000
const memoryBytesMaxDefault = 256 * 1_048_576

export async function openStore(options: OpenStoreOptions): Promise<OpenedStore> {
  const { file, rebuild = false } = options
  try {
    return await openAsIs(options)
  } catch (error) {
    if (!rebuild || !(error instanceof PipelineError) || !rebuilt.includes(error.code)) throw error
    if (error.details.isForeignDatabase === true) throw error
    await Promise.all([file, `${file}.wal`].map((path) => rm(path, { force: true })))
    return openAsIs(options)
  }
}

const rebuilt: ReadonlyArray<PipelineError['code']> = ['state_foreign', 'training_store_unreadable']

async function openAsIs(options: OpenStoreOptions): Promise<OpenedStore> {
  const { file, plan, clusterId, isReadOnly = false, consumers = [], rowsMax = rowsMaxDefault } = options
  assert(clusterId !== null || isReadOnly, 'a store that is written stands for positions of one cluster')
  const layout = layoutOf(plan)
  const about = aboutOf(options)
  const labelStream = labelStreamOf(plan)
  const kept = plan.topics.find(({ role }) => role === 'predictions')?.retentionMs ?? null
  const database = await openDatabase(databaseOptions(options))
  try {
    const earlierDefinition = await prepare(database, options, layout, about)
    const [[found], states] = await database.maintain(async (session) => [
      await session.all('SELECT json FROM progress'),
      await session.all('SELECT name, up_to::DOUBLE FROM states'),
    ])
    const saved = new Map(states.map(([name, upTo]) => [String(name), Number(upTo)]))
    return {
      file,
      database,
      layout,
      maturity: {
        afterMs: plan.label.otherwise.afterMs,
        waitMs: plan.label.learn === 'on-arrival' ? 0 : plan.label.otherwise.afterMs,
        isUnknownOtherwise: plan.label.otherwise.value === null,
        labelDisorderMs: labelStream.disorderMs,
      },
      limits: { retentionMs: options.retentionMs ?? kept ?? Number.POSITIVE_INFINITY, rowsMax },
      about,
      progress: progressFromJson(String(found![0])),
      earlierDefinition,
      consumed: new Map(consumers.map((name) => [name, saved.get(name) ?? 0])),
    }
  } catch (error) {
    await database.close()
    throw error
  }
}

function databaseOptions({ file, memoryBytesMax, threads, isReadOnly }: OpenStoreOptions): DatabaseOptions {
  return {
    file,
    memoryBytesMax: memoryBytesMax ?? memoryBytesMaxDefault,
    threads: threads ?? 1,
    isReadOnly: isReadOnly ?? false,
  }
}

export function labelStreamOf({ streams, label }: Pick<StorePlan, 'streams' | 'label'>): StreamPlan {
  const stream = streams.find(({ index }) => index === label.stream)
  if (stream === undefined) throw new Error(`the label's stream ${label.stream} is not in the plan`)
  return stream
}

function aboutOf({ plan, clusterId }: OpenStoreOptions): About {
  const { value, otherwise, learn } = plan.label
  return {
    layout: layoutVersion,
    pipeline: plan.name,
    fingerprint: plan.fingerprint,
    predictions: plan.predictions.topic,
    label: labelStreamOf(plan).topic,
    outcome: JSON.stringify({ value, otherwise, learn }),
    cluster: clusterId ?? '',
    features: plan.features.map(({ name, identity }) => [name, identity] as const),
  }
}

/**
 * Makes the tables where there are none; otherwise they must be those of this plan, or of an earlier definition of the same pipeline.
 * Answers the fingerprint of that.
 */
async function prepare(
  database: Database,
  options: OpenStoreOptions,
  layout: Layout,
  about: About,
): Promise<string | null> {
  return database.transact(async (session) => {
    let earlier: string | null = null
    const tables = await session.all(
      "SELECT table_name FROM duckdb_tables() WHERE database_name NOT IN ('temp', 'system')",
    )
    const names = tables.map(([name]) => String(name))
    if (names.includes('about')) {
      const [read] = await session.all('SELECT json FROM about')
      const found = JSON.parse(String(read?.[0])) as About
      // On request it is built again instead: Kafka may still have what an earlier change has emptied.
      if (!options.isReadOnly && !options.rebuild && isEarlierDefinition(found, about)) {
        await migrate(session, found.features!, about.features!, layout)
        const [saved] = await session.all('SELECT json FROM progress')
        const progress = allEarlier(progressFromJson(String(saved![0])))
        await session.run('UPDATE progress SET json = $json', { json: progressToJson(progress) })
        earlier = found.fingerprint
      } else rejectForeign(options, about, found)
      if (!options.isReadOnly) await session.run('UPDATE about SET json = $json', { json: JSON.stringify(about) })
    } else if (names.length > 0) {
      throw new PipelineError(
        'state_foreign',
        `The file ${options.file} is a DuckDB database of something else (table ${names[0]}): name another file.`,
        { details: { file: options.file, isForeignDatabase: true } },
      )
    } else {
      for (const statement of layout.create) await session.run(statement)
      await session.run('INSERT INTO about VALUES ($json)', { json: JSON.stringify(about) })
      await session.run('INSERT INTO progress VALUES ($json)', { json: progressToJson(emptyProgress()) })
    }
    await session.run(createStaged)
    await session.run(createDue)
    return earlier
  })
}

/** Of the same pipeline, and some of its features mean the same. */
function isEarlierDefinition(found: About, about: About): boolean {
  const isSame = (keys: Array<keyof typeof words>) => keys.every((key) => found[key] === about[key])
  return (
    found.fingerprint !== about.fingerprint &&
    isSame(['layout', 'pipeline', 'predictions', 'label', 'cluster', 'outcome']) &&
    found.features !== undefined &&
    sharedFeatures(found.features, about.features!) > 0
  )
}

/** In the order in which they are compared; a file of an older layout may lack the later ones. */
const words: Readonly<Record<Exclude<keyof About, 'features'>, string>> = {
  layout: 'layout of the tables',
  pipeline: 'pipeline',
  predictions: 'topic of predictions',
  label: 'label topic',
  cluster: 'Kafka cluster',
  fingerprint: "definition's fingerprint",
  outcome: 'label',
}

function rejectForeign({ file, isReadOnly }: OpenStoreOptions, expected: About, found: About): void {
  const names = Object.keys(words) as Array<keyof typeof words>
  const name = names.find((key) => found[key] !== expected[key] && !(key === 'cluster' && expected.cluster === ''))
  if (name === undefined) return
  // Who only reads, such as `millrace data`, has no cluster and cannot change the file.
  const canBeTakenOver = isReadOnly && isEarlierDefinition({ ...found, cluster: expected.cluster }, expected)
  const remedy = canBeTakenOver
    ? 'The trainer takes its rows over when it starts with this definition; until then, name the definition that it is of.'
    : 'Name another file, or start with --rebuild to build it again from Kafka.'
  throw new PipelineError(
    'state_foreign',
    `The training store ${file} belongs to another ${words[name]}: expected ${expected[name]}, it has ${found[name]}. ${remedy}`,
    { details: { file, expected, found } },
  )
}
