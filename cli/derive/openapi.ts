/** `millrace openapi`: the description of a pipeline's HTTP API, printed or written to a file. Needs no server. */
import { Registry } from 'prom-client'
import { openApiText } from '../../runtime/http/openapi.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { createHttp } from '../run/http.ts'
import { writeWholeFile } from '../whole-file.ts'

export interface OpenApiCommandOptions {
  readonly out?: string
}

export async function openApiCommand(
  definition: string,
  options: OpenApiCommandOptions,
  { terminal }: Pick<CommandContext, 'terminal'>,
): Promise<number> {
  // The API does not depend on the namespace.
  const text = await describePlan(await loadPlan(definition, { namespace: '' }))
  if (options.out === undefined) terminal.out(text.trimEnd())
  else await writeWholeFile(options.out, text)
  return exitCodes.done
}

/** The same document as a running process shows under `/openapi.json`. */
export async function describePlan(plan: Plan): Promise<string> {
  const unused = () => Promise.reject(new Error('the server of a description takes no request'))
  const server = createHttp({
    plan,
    reader: { read: unused },
    producer: { send: unused },
    partitionsOf: () => 1,
    registry: new Registry(),
    log: { info: () => undefined, warn: () => undefined, error: () => undefined },
    nowMs: () => 0,
    worker: { state: () => ({ tasks: [], isReady: false, early: null, overtaken: null }) },
    misfit: () => null,
    checks: [],
    isStopping: () => false,
  })
  await server.ready()
  const text = openApiText(server)
  await server.close()
  return text
}
