/** How good the versions turned out to be that served, as a running trainer knows it. Called by `millrace models list`. */
import { type EvaluationReport, reportCells } from '../../online-model/evaluation/report.ts'
import type { TrainerResponse } from '../../online-model/trainer/routes.ts'
import { tableLines } from '../terminal.ts'

const answerMaxMs = 3_000

/** What the trainer answered, or in words why there is nothing. */
export type TrainerAnswer =
  | { readonly url: string; readonly response: TrainerResponse }
  | { readonly url: string; readonly why: string }

/** `models`: topic of the queried registry. */
export async function askTrainer(url: string, models: string): Promise<TrainerAnswer> {
  try {
    const answer = await fetch(new URL('/trainer', url), { signal: AbortSignal.timeout(answerMaxMs) })
    if (!answer.ok) return { url, why: `${url} answered ${answer.status}, which is no trainer` }
    const response = (await answer.json()) as Partial<TrainerResponse> | null
    if (!isWhole(response)) return { url, why: `${url} answered, but is no trainer of this version` }
    if (response.models !== models) return { url, why: `${url} is the trainer of ${response.models}` }
    return { url, response }
  } catch (error) {
    const { cause, message } = error as Error
    return { url, why: `no trainer answers at ${url} (${cause instanceof Error ? cause.message : message})` }
  }
}

function isWhole(response: Partial<TrainerResponse> | null): response is TrainerResponse {
  return (
    typeof response === 'object' &&
    response !== null &&
    typeof response.models === 'string' &&
    [response.shadows, response.store, response.served ?? {}].every(
      (part) => typeof part === 'object' && part !== null,
    ) &&
    response.served !== undefined
  )
}

/** A line for the last days, one since the promotion, and one a version that served or scored in shadow. */
export function servedLines(answer: TrainerAnswer): string[] {
  if ('why' in answer) return [`How they did as served is not known here: ${answer.why}.`]
  const { url, response } = answer
  const { served, shadows, store } = response
  if (served === null) {
    const why = store.matured === 0 ? 'no label has matured yet' : 'it has not evaluated since its start'
    return [`How they did as served is not known yet: ${why}, says the trainer at ${url}.`]
  }
  const shadow = ([version, report]: [string, EvaluationReport]) =>
    reportCells(report, ['all'])
      .slice(1)
      .map(([, , ...measures]) => ['shadow', version, ...measures])
  return [
    `How they did as served, by the labels of events until ${store.maturedUntil} (${url}/trainer has it by day, slice and delay):`,
    ...tableLines([
      ...reportCells(served, ['rolling', 'promotion', 'version']),
      ...Object.entries(shadows).flatMap(shadow),
    ]),
  ]
}
