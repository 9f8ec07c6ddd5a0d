/** The settings and the definition: whether they are right before anything is started; called by `doctor`. */
import { join } from 'node:path'
import { formatDuration } from '../../schemas/kernel/duration.ts'
import type { PipelineError } from '../../schemas/kernel/errors.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { compareSchemas, schemaFiles } from '../derive/schema-files.ts'
import { presentSchemas } from '../derive/schemas.ts'
import { type Check, type Examination, fail, ok } from './check.ts'
import type { Subject } from './subject.ts'

/** `faults`: what was wrong with the settings, which are otherwise those of the subject. */
export function definitionExaminations(subject: Subject, faults: PipelineError | null): Examination[] {
  const { definition } = subject
  return [
    { name: 'configuration', examine: async () => [configurationCheck(subject, faults)] },
    {
      name: 'definition',
      async examine() {
        const { name, version, streams, stages, features, fingerprint, stateFingerprint } = await subject.plan.open()
        const entities = stages.map(({ entity }) => entity.name).join(', ')
        return [
          ok(
            'definition',
            `${name} version ${version}: streams ${streams.map((stream) => stream.name).join(', ')}; entities ${entities}; ` +
              `${features.length} features; definition ${fingerprint}, state ${stateFingerprint}.`,
          ),
          ...disorderChecks(streams),
        ]
      },
    },
    {
      name: 'schemas',
      async examine() {
        const plan = await subject.plan.needed()
        const folder = join('schemas', plan.name)
        const present = await presentSchemas(folder)
        if (present.size === 0) return [ok('schemas', `no schema files in ${folder} to compare with.`)]
        const changed = compareSchemas(schemaFiles(plan), present, plan.version).filter(
          ({ state }) => state !== 'fresh',
        )
        if (changed.length === 0)
          return [ok('schemas', `${present.size} files in ${folder} are as the definition derives them.`)]
        const named = changed.map(({ name, state }) => `${name} (${state})`).join(', ')
        return [
          fail(
            'schemas',
            `files in ${folder} differ from the definition: ${named}.`,
            `Type: millrace schemas ${definition} --write`,
          ),
        ]
      },
    },
  ]
}

/** What waiting for events out of order costs, where a stream declares that there are any. */
export function disorderChecks(streams: readonly StreamPlan[]): Check[] {
  const waiting = streams.filter(({ disorderMs, entersAt }) => disorderMs > 0 && entersAt !== null)
  if (waiting.length === 0) return []
  const named = waiting.map(({ name, disorderMs }) => `${name} ${formatDuration(disorderMs)}`).join(', ')
  const longest = formatDuration(Math.max(...waiting.map(({ disorderMs }) => disorderMs)))
  return [
    ok(
      'disorder',
      `an event waits until its partition is so far beyond it, or has been at its end for so long: ${named}. Predictions ` +
        `come up to ${longest} later for it.`,
    ),
  ]
}

function configurationCheck({ config }: Subject, faults: PipelineError | null): Check {
  if (faults !== null) return fail('configuration', faults.message, 'Fix each listed variable.')
  const { namespace, rawNamespace, worker } = config
  const shown = (name: string) => (name === '' ? 'no namespace' : `namespace ${name}`)
  const raw = rawNamespace === null || rawNamespace === namespace ? '' : `, raw topics of ${shown(rawNamespace)}`
  return ok('configuration', `${shown(namespace)}${raw}, worker ${worker}.`)
}
