/**
 * `millrace plan`: what starting a definition would do, against what Kafka, Redis and the registry hold of the one before. Reads only, and
 * takes nothing over. Called by `declare.ts`.
 */
import { misfitOf } from '../../online-model/models/fits.ts'
import { createRegistryReader } from '../../online-model/registry/reader.ts'
import { champion, championFor } from '../../online-model/registry/registry.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { openRedis } from '../doctor/doctor.ts'
import { inspectStages, type StageState } from '../doctor/state.ts'
import { createSubject, type Subject, type SubjectOptions } from '../doctor/subject.ts'
import { exitCodes } from '../failure-text.ts'
import type { TopicReport } from '../topics/report.ts'
import { writeFigures } from '../whole-file.ts'
import { type SentBefore, sentBefore } from './between-stages.ts'
import { compareFeatures, type FeatureChanges } from './compare-features.ts'

export interface PlanCommandOptions {
  readonly json?: string
}

export interface PlanContext extends CommandContext {
  /** Default: Redis. */
  readonly openStore?: SubjectOptions['openStore']
}

export async function planCommand(
  definition: string,
  options: PlanCommandOptions,
  context: PlanContext,
): Promise<number> {
  const { config, clock, terminal, openStore = openRedis } = context
  const openBroker: SubjectOptions['openBroker'] = (quiet) => openPipelineBroker(plan, quiet, context).broker
  const subject = createSubject({ definition, config, clock, openBroker, openStore })
  const plan = await subject.plan.open()
  try {
    const topics = await subject.topics.open()
    const versions = await versionsOf(subject, plan, topics)
    const features = versions.newest && compareFeatures(versions.newest, plan)
    const states = await inspectStages(subject, topics)
    const between = await sentBefore(subject, plan, topics)
    const lines = [
      featureLine(features, versions.newest),
      championLine(versions, plan, definition),
      ...states.map((state) => stateLine(state, definition)),
      topicLine(topics),
      ...between.map(betweenLine),
    ]
    for (const line of lines) terminal.out(line)
    await writeFigures(options.json, {
      definition: plan.fingerprint,
      features,
      champion: versions.champion && {
        version: versions.champion.version,
        misfit: misfitOf(versions.champion, plan),
        scoring: versions.scoring?.version ?? null,
      },
      state: states,
      create: missing(topics),
      between,
    })
    return exitCodes.done
  } finally {
    await subject.close()
  }
}

interface Versions {
  readonly champion: ModelVersion | null
  /** What would score: the champion, or the one before it that fits. */
  readonly scoring: ModelVersion | null
  /** The newest that records its features: what there is to compare with. */
  readonly newest: ModelVersion | null
}

async function versionsOf(subject: Subject, plan: Plan, topics: readonly TopicReport[]): Promise<Versions> {
  const { topic, codec } = plan.models
  if (!topics.some((one) => one.topic === topic && one.exists)) return { champion: null, scoring: null, newest: null }
  const { broker } = await subject.kafka.open()
  const reader = createRegistryReader({ broker: broker.data, codec, topic, changed: () => undefined })
  try {
    await reader.loadToEnd()
    const state = reader.state()
    const recording = [...state.versions.values()].filter(({ identities = {} }) => Object.keys(identities).length > 0)
    const scoring = championFor(state, plan)
    return { champion: champion(state), scoring, newest: recording.at(-1) ?? null }
  } finally {
    await reader.close()
  }
}

function featureLine(changes: FeatureChanges | null, against: ModelVersion | null): string {
  if (changes === null || against === null)
    return 'features: nothing to compare with, since the registry has no version that records what its features mean.'
  const { kept, added, changed, removed } = changes
  const listed = (word: string, names: readonly string[]) =>
    names.length === 0 ? [] : [`${names.length} ${word} (${names.join(', ')})`]
  const parts = [
    `${kept.length} kept`,
    ...listed('added', added),
    ...listed('changed', changed),
    ...listed('removed', removed),
  ]
  return `features: ${parts.join(', ')}, against ${against.version} of definition ${against.fingerprint}.`
}

function championLine({ champion: version, scoring }: Versions, plan: Plan, definition: string): string {
  if (version === null) return 'champion: none; predictions carry no score.'
  const why = misfitOf(version, plan)
  if (why === null) return `champion: ${version.version} scores on.`
  return scoring !== null
    ? `champion: ${version.version} does not fit: ${why}. ${scoring.version}, which was the champion before, fits and would score.`
    : `champion: ${version.version} does not fit: ${why}. Predictions carry no score until millrace train ${definition} has made ` +
        'another; docs/evolving.md says how to train it before the switch.'
}

function stateLine({ entity, held, difference }: StageState, definition: string): string {
  if (difference !== null)
    return `state ${entity}: must be rebuilt, since ${difference}: millrace run ${definition} --rebuild, or a namespace of its own.`
  return held === 0 ? `state ${entity}: none yet.` : `state ${entity}: kept, ${held} partitions.`
}

function betweenLine({ topic, unreadable, unsent }: SentBefore): string {
  return unreadable !== null
    ? `topic ${topic}: its records cannot be read. ${unreadable} Start the definition beside the other one, in a namespace of its own ` +
        'on the same raw topics: docs/evolving.md says how.'
    : `topic ${topic}: events were sent without ${unsent.join(', ')}. A rebuild reads them, but what the earlier definition has not handled ` +
        'could not be predicted: let it finish before you stop it (millrace doctor: nothing unread).'
}

const missing = (topics: readonly TopicReport[]) => topics.filter(({ exists }) => !exists).map(({ topic }) => topic)

function topicLine(topics: readonly TopicReport[]): string {
  const absent = missing(topics)
  const wrong = topics.filter(({ exists, problems }) => exists && problems.length > 0).map(({ topic }) => topic)
  const create = absent.length === 0 ? 'none to be created' : `to be created: ${absent.join(', ')}`
  return `topics: ${create}${wrong.length === 0 ? '' : `; to be altered: ${wrong.join(', ')} (millrace topics says how)`}.`
}
