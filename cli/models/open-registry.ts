/** The registry of a pipeline, opened for one command of `millrace models`, and what those commands share. */

import { isFor, misfitOf } from '../../online-model/models/fits.ts'
import { createScorer } from '../../online-model/models/scorer.ts'
import { championAlias, isRolledBack, lastRejection, type RegistryState } from '../../online-model/registry/registry.ts'
import { createRegistryWriter, type RegistryWriter } from '../../online-model/registry/writer.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { nearestName } from '../../schemas/kernel/nearest-name.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { type CommandContext, openPipelineBroker } from '../context.ts'
import { loadPlan } from '../load-plan.ts'
import { requireTopics } from '../topics/requirements.ts'

export interface OpenRegistry {
  readonly plan: Plan
  readonly writer: RegistryWriter
  /** As it was when the command began. */
  readonly state: RegistryState
}

export async function withRegistry<T>(
  definition: string,
  context: CommandContext,
  work: (open: OpenRegistry) => Promise<T>,
): Promise<T> {
  const { config, clock } = context
  const plan = await loadPlan(definition, config)
  const { broker } = openPipelineBroker(plan, config, context)
  try {
    const { topic, codec } = plan.models
    await requireTopics(broker.data, [topic])
    const writer = createRegistryWriter({ broker: broker.data, codec, topic, clock: clock.nowMs })
    try {
      return await work({ plan, writer, state: await writer.refresh() })
    } finally {
      await writer.close()
    }
  } finally {
    await broker.close()
  }
}

/** Throws `model_unknown` with what it may have been meant for. */
export function versionNamed({ plan, state }: Pick<OpenRegistry, 'plan' | 'state'>, name: string): ModelVersion {
  const version = state.versions.get(name)
  if (version !== undefined) return version
  const names = [...state.versions.keys()]
  const meant =
    names.length === 0 ? 'it has none yet' : `did you mean ${nearestName(name, names)}? The newest is ${names.at(-1)}`
  throw new PipelineError('model_unknown', `The registry ${plan.models.topic} has no version ${name}; ${meant}.`, {
    details: { version: name },
  })
}

/** A version that would score nothing, or stop the process that loads it (`state_foreign`), becomes no champion and no challenger. */
export function requireFitting(plan: Plan, version: ModelVersion, name = version.version): void {
  const why = misfitOf(version, plan)
  if (why === null) {
    createScorer(version, plan, 0)
    return
  }
  throw new PipelineError('model_unknown', `${name} cannot score this definition's events: ${why}.`, {
    details: { version: name, fingerprint: version.fingerprint },
  })
}

/** What there is to know about a version beside its aliases, in few words. */
export function standingOf(state: RegistryState, plan: Plan, version: ModelVersion): string[] {
  const { version: name } = version
  return [
    ...(isRolledBack(state, name) ? ['rolled back'] : []),
    ...(lastRejection(state, name) !== null && state.aliases.get(championAlias) !== name ? ['refused'] : []),
    ...(isFor(version, plan) ? [] : ['of another definition']),
  ]
}

export function shownFigure(value: number): string {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)))
}
