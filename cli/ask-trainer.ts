/** How good the versions turned out to be that served, as a running trainer knows it. Called by `millrace models list`. */
import { type EvaluationReport, reportCells } from '../online-model/evaluation/report.ts'
import type { TrainerResponse } from '../online-model/trainer/routes.ts'
import { tableLines } from './terminal.ts'

const answerMaxMs = 3_000

/** What the trainer answered, or in words why there is nothing. */
export type TrainerAnswer =
  | { readonly url: string; readonly response: TrainerResponse }
  | { readonly url: string; readonly why: string }

export async function askTrainer(url: string, pipeline: string): Promise<TrainerAnswer> {
  let response: TrainerResponse
  try {
    const answer = await fetch(new URL('/trainer', url), { signal: AbortSignal.timeout(answerMaxMs) })
    if (!answer.ok) return { url, why: `${url} answered ${answer.status}, which is no trainer` }
    response = (await answer.json()) as TrainerResponse
  } catch {
    return { url, why: `no trainer answers at ${url}` }
  }
  if (response.pipeline !== pipeline) return { url, why: `${url} is the trainer of ${response.pipeline}` }
  return { url, response }
}

/** A line a version that served or scored in shadow, and one each for all of late and since the promotion. */
export function servedLines(answer: TrainerAnswer): string[] {
  if ('why' in answer) return [`How they did as served is not known here: ${answer.why}.`]
  const { url, response } = answer
  const { served, shadows, store } = response
  if (served === null) return [`How they did as served: no label has ripened yet, says the trainer at ${url}.`]
  const shadow = ([version, report]: [string, EvaluationReport]) =>
    reportCells(report, ['all'])
      .slice(1)
      .map(([, , ...measures]) => ['shadow', version, ...measures])
  return [
    `How they did as served, by the labels of events until ${store.ripenedUntil} (${url}/trainer has it by day, slice and delay):`,
    ...tableLines([
      ...reportCells(served, ['rolling', 'promotion', 'version']),
      ...Object.entries(shadows).flatMap(shadow),
    ]),
  ]
}
