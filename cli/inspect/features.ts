/** `millrace features`: reads the features of some keys from a running process and prints them. */
import type { FeaturesBatchResponse, FeaturesItem } from '../../feature-store/routes.ts'
import type { HttpFailure } from '../../runtime/http/failure.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { tableLines } from '../terminal.ts'

export interface FeaturesCommandOptions {
  readonly url: string
  /** Id of an event, and its stream. */
  readonly asOf?: string
  readonly stream?: string
  /** Ms since 1970. */
  readonly through?: number
  readonly place?: string
  readonly knowledge?: 'then' | 'now'
  readonly json?: boolean
}

const answerMaxMs = 10_000

export async function featuresCommand(
  definition: string,
  entity: string,
  keys: readonly string[],
  options: FeaturesCommandOptions,
  context: Pick<CommandContext, 'config' | 'terminal'> & { readonly fetch: typeof fetch },
): Promise<number> {
  const { terminal } = context
  const plan = await loadPlan(definition, context.config)
  const entities = plan.entityStages.map(({ entity }) => entity.name)
  if (!entities.includes(entity)) {
    throw new PipelineError('usage', `${plan.name} has no entity ${entity}: type one of ${entities.join(', ')}.`)
  }
  const answer = await ask(entity, keys, options, context.fetch)
  if (options.json) terminal.out(JSON.stringify(answer, null, 2))
  else for (const line of linesOf(answer)) terminal.out(line)
  return exitCodes.done
}

async function ask(
  entity: string,
  keys: readonly string[],
  { url, asOf, stream, through, place, knowledge }: FeaturesCommandOptions,
  fetchIt: typeof fetch,
): Promise<FeaturesBatchResponse> {
  const address = new URL(`/features/${encodeURIComponent(entity)}`, url).href
  const response = await fetchIt(address, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    // What is undefined is left out.
    body: JSON.stringify({ keys, asOf, stream, through, place, knowledge }),
    signal: AbortSignal.timeout(answerMaxMs),
  }).catch((cause: Error) => {
    const reason = cause.cause instanceof Error ? cause.cause.message : cause.message
    throw new PipelineError(
      'input_unreadable',
      `No Millrace process answers at ${url} (${reason || 'no connection'}): start one with millrace run, or name another with --url.`,
      { cause },
    )
  })
  const text = await response.text()
  const body = parsed(text, address)
  if (response.ok) return body as FeaturesBatchResponse
  const { error } = body as Partial<HttpFailure>
  const message = error?.message ?? `it answered ${response.status}: ${text.slice(0, 200)}`
  throw new PipelineError(response.status < 500 ? 'usage' : 'input_unreadable', `${address}: ${message}`)
}

function parsed(text: string, address: string): unknown {
  try {
    return JSON.parse(text)
  } catch (cause) {
    throw new PipelineError(
      'input_unreadable',
      `${address} did not answer JSON, so it is no Millrace: ${text.slice(0, 100)}`,
      {
        cause,
      },
    )
  }
}

/** One column a key. */
function linesOf({ entity, items }: FeaturesBatchResponse): string[] {
  const names = [...new Set(items.flatMap((item) => (item.found ? Object.keys(item.features) : [])))]
  const column = (cellOf: (item: FeaturesBatchResponse['items'][number]) => string) => items.map(cellOf)
  const known = (item: FeaturesBatchResponse['items'][number]) => (item.found ? item : null)
  return tableLines([
    [entity, ...column(({ key }) => key)],
    ['reading', ...column((item) => readingOf(known(item)))],
    ['instant', ...column((item) => known(item)?.instant ?? '')],
    ['through', ...column((item) => throughOf(known(item)))],
    ['facts', ...column((item) => String(known(item)?.facts ?? ''))],
    ...names.map((name) => [
      name,
      ...column((item) => {
        if (!item.found) return ''
        if (item.beforeRetention.includes(name)) return 'before retention'
        if (item.failed.some(({ feature }) => feature === name)) return 'failed'
        return String(item.features[name] ?? 'missing')
      }),
    ]),
  ])
}

function readingOf(item: FeaturesItem | null): string {
  return item === null ? 'unknown key' : `${item.reading}, known ${item.knowledge}`
}

/** The end of what counts. */
function throughOf(item: FeaturesItem | null): string {
  if (item === null) return ''
  return `${item.place ?? 'everything of the instant'}${item.passed ? '' : ' so far'}`
}
