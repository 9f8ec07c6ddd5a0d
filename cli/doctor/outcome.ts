/** The champion of the registry, the scores that it gives, and the readiness of a process; called by `doctor`. */

import type { FittingPlan } from '../../online-model/models/fits.ts'
import { createRegistryFollower, misfitSentence } from '../../online-model/registry/follower.ts'
import { champion, championFor, type RegistryState } from '../../online-model/registry/registry.ts'
import type { DegradedResponse, NotReadyResponse } from '../../runtime/http/health-routes.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ReadyResponse } from '../run/task-readiness.ts'
import { type Check, type Examination, fail, NotChecked, ok, warn } from './check.ts'
import { recentPredictions, scoresCheck } from './scores.ts'
import type { Subject } from './subject.ts'

const answerMaxMs = 3_000

export interface Asked {
  readonly url: string
  /** The address was given with --url, so a process is expected there. */
  readonly isGiven: boolean
  readonly fetch: typeof fetch
}

export function outcomeExaminations(subject: Subject, asked: Asked): Examination[] {
  let reading: Promise<RegistryState> | undefined
  const registry = () => {
    reading ??= readRegistry(subject)
    return reading
  }
  return [
    {
      name: 'registry',
      examine: async () => [registryCheck(await registry(), await subject.plan.needed(), subject.definition)],
    },
    {
      name: 'scores',
      async examine() {
        const plan = await subject.plan.needed()
        const [state, recent] = await Promise.all([registry(), recentPredictions(subject, plan)])
        const { definition, clock } = subject
        return [scoresCheck(recent, state, { plan, nowMs: clock.nowMs(), definition })]
      },
    },
    {
      name: 'process',
      examine: async () => [await processCheck(asked, await subject.plan.needed(), subject.definition)],
    },
  ]
}

async function readRegistry(subject: Subject): Promise<RegistryState> {
  const plan = await subject.plan.needed()
  const models = (await subject.topics.needed()).find(({ role }) => role === 'models')!
  if (!models.exists) throw new NotChecked(`not checked: it needs ${models.topic}.`)
  const { broker } = await subject.kafka.needed()
  const follower = createRegistryFollower({
    broker: broker.data,
    plan,
    topic: plan.models.topic,
    printLine: () => undefined,
  })
  try {
    await follower.loadToEnd()
    return follower.state()
  } finally {
    await follower.close()
  }
}

export function registryCheck(state: RegistryState, plan: FittingPlan, definition: string): Check {
  const train = `Once labels are mature, type: millrace train ${definition}`
  const version = champion(state)
  if (version === null) return warn('registry', 'there is no champion: predictions carry no score.', train)
  const { version: name, fingerprint, createdAtMs } = version
  const serving = championFor(state, plan)
  const misfit = misfitSentence(version, plan, serving)
  // Where one scores, another training would take the champion from the definition that it was made for.
  const remedy = serving === null ? train : `To see what there is, type: millrace models list ${definition}`
  if (misfit !== null) return warn('registry', `${misfit}.`, remedy)
  const of = fingerprint === plan.fingerprint ? 'this definition' : 'an earlier definition, whose features it has'
  const made = new Date(createdAtMs).toISOString()
  return ok('registry', `champion is ${name} of ${made}, trained on ${of}; ${state.versions.size} versions.`)
}

async function processCheck(
  { url, isGiven, fetch: ask }: Asked,
  { name, stages }: Pick<Plan, 'name' | 'stages'>,
  definition: string,
): Promise<Check> {
  let response: Response
  let body: unknown
  try {
    response = await ask(new URL('/health/ready', url), { signal: AbortSignal.timeout(answerMaxMs) })
    body = await response.json()
  } catch (error) {
    const { cause, message: text } = error as Error
    const reason = (cause instanceof Error && cause.message) || text
    const message = `no Millrace process answers at ${url} (${reason}).`
    const remedy = `Start one: millrace run ${definition}; one at another address is named with --url.`
    return isGiven ? fail('process', message, remedy) : warn('process', message, remedy)
  }
  if (response.ok) {
    const { tasks, ...answered } = body as ReadyResponse | (DegradedResponse & Pick<ReadyResponse, 'tasks'>)
    const other = tasks.find(({ stage }) => !stages.some(({ entity }) => entity.name === stage))
    if (other !== undefined) {
      const message = `the process at ${url} is none of ${name}: it has a task of ${other.stage}.`
      return warn('process', message, 'Name the address of one of this pipeline: --url.')
    }
    if (answered.status === 'degraded') {
      const named = answered.reasons.map(({ part, reason }) => `${part}: ${reason}`).join('; ')
      return warn(
        'process',
        `degraded at ${url}: ${named.replace(/\.?$/, '.')}`,
        'See its log, and docs/errors.md for the reasons.',
      )
    }
    const named = tasks.map(({ stage, partition }) => `${stage} ${partition}`)
    return ok('process', `ready at ${url} with ${tasks.length} tasks: ${named.join(', ')}.`)
  }
  const { reasons } = body as Partial<NotReadyResponse>
  const message =
    reasons?.map(({ part, reason }) => `${part}: ${reason}`).join('; ') ?? `it answered ${response.status}`
  return fail('process', `not ready at ${url}: ${message}.`, 'See its log; the reasons are listed above.')
}
