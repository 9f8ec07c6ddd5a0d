/**
 * A model version and a plan in, whether the version can score the plan's events out, or the reason why not. Called wherever a version is
 * taken into use: by the follower of the registry, the trainer, the audit and the commands.
 */
import type { ModelPlan } from '../../schemas/models/models.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'

export interface FittingPlan {
  readonly fingerprint: string
  readonly features: ReadonlyArray<{ readonly name: string; readonly identity: string }>
  readonly model: ModelPlan
}

type Fitted = Pick<ModelVersion, 'fingerprint' | 'identities' | 'model'>

/** Every feature that the version was trained with means the same in the plan; weights of a definition's own model need that model as well. */
export function isFor(version: Fitted, plan: FittingPlan): boolean {
  return misfitOf(version, plan) === null
}

const namedMax = 5

/** In words, to follow "it does not fit this definition: "; null where it fits. */
export function misfitOf(version: Fitted, plan: FittingPlan): string | null {
  const { model, fingerprint } = version
  if (model.kind === 'own' && !(plan.model.kind === 'own' && plan.model.own.name === model.name))
    return `its model is ${model.name}, which the definition is without`
  if (fingerprint === plan.fingerprint) return null
  const identities = new Map(Object.entries(version.identities ?? {}))
  if (identities.size === 0) return `it was trained on definition ${fingerprint}, this one is ${plan.fingerprint}`
  const now = new Map(plan.features.map(({ name, identity }) => [name, identity]))
  const gone = model.features.filter((name) => !now.has(name))
  const changed = model.features.filter((name) => now.has(name) && now.get(name) !== identities.get(name))
  const parts = [...named(gone, 'is gone', 'are gone'), ...named(changed, 'has changed', 'have changed')]
  return parts.length === 0 ? null : parts.join(', ')
}

function named(names: readonly string[], one: string, several: string): string[] {
  if (names.length === 0) return []
  const more = names.length > namedMax ? ` and ${names.length - namedMax} more` : ''
  const noun = names.length === 1 ? 'feature' : 'features'
  return [`${noun} ${names.slice(0, namedMax).join(', ')}${more} ${names.length === 1 ? one : several}`]
}
