/**
 * Whether predictions carry scores: the tail of the predictions and the registry come in, a check goes out. Needs no running process.
 * Called by the examinations of the outcome.
 */
import type { FittingPlan } from '../../online-model/models/fits.ts'
import { championAlias, championFor, type RegistryState } from '../../online-model/registry/registry.ts'
import { readSpans } from '../../runtime/read-log.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { shown } from '../terminal.ts'
import { type Check, NotChecked, ok, warn } from './check.ts'
import { partitionsMax, recentOffsets, shareCheck } from './recent.ts'
import type { Subject } from './subject.ts'

/** Processes take a new champion with the next batch after they have read it. */
const adoptionMs = 60_000
/** Without a model for so long after the first prediction that is still there, nobody is about to train one. */
const unscoredMaxMs = 86_400_000

export interface RecentPrediction {
  readonly appendedAtMs: number
  readonly modelVersion: string | null
  readonly score: number | null
}

export interface RecentPredictions {
  readonly predictions: readonly RecentPrediction[]
  /** When the first prediction that is still there was appended; null where there is none. */
  readonly sinceMs: number | null
}

export async function recentPredictions(subject: Subject, plan: Plan): Promise<RecentPredictions> {
  const { topic, codec } = plan.predictions
  const report = (await subject.topics.needed()).find((found) => found.topic === topic)
  if (!report?.exists) throw new NotChecked(`not checked: it needs ${topic}.`)
  const offsets = report.offsets.slice(0, partitionsMax).filter(({ start, end }) => start < end)
  const fetcher = await (await subject.records()).fetcher()
  try {
    const predictions: RecentPrediction[] = []
    let sinceMs: number | null = null
    const firsts = offsets.map(({ partition, start }) => ({ topic, partition, offset: start }))
    const fetched = firsts.length === 0 ? [] : await fetcher.fetch(firsts, { maxWaitMs: 100, partitionBytesMax: 4_096 })
    for (const { records } of fetched) {
      if (records.length === 0) continue
      sinceMs = Math.min(sinceMs ?? Number.POSITIVE_INFINITY, records.at(0).appendedAtMs)
    }
    const spans = offsets.map(({ partition, start, end }) => {
      return { topic, partition, from: Math.max(start, end - recentOffsets), end }
    })
    await readSpans(
      fetcher,
      spans,
      ({ value, appendedAtMs }) => {
        const { fingerprint, modelVersion, score } = codec.decode(value!)
        if (fingerprint === plan.fingerprint) predictions.push({ appendedAtMs, modelVersion, score })
      },
      { isLossy: true },
    )
    return { predictions, sinceMs }
  } finally {
    await fetcher.close()
  }
}

export function scoresCheck(
  { predictions, sinceMs }: RecentPredictions,
  state: RegistryState,
  seen: { readonly plan: FittingPlan; readonly nowMs: number; readonly definition: string },
): Check {
  const name = 'scores'
  if (predictions.length === 0 || sinceMs === null) return ok(name, 'this definition has published no prediction yet.')
  const version = championFor(state, seen.plan)
  if (version === null) {
    const days = Math.floor((seen.nowMs - sinceMs) / 86_400_000)
    const message = 'there is no champion that fits this definition, so none of its predictions is scored'
    if (seen.nowMs - sinceMs <= unscoredMaxMs) return ok(name, `${message} yet.`)
    const train = `Train one: millrace train ${seen.definition}, or run millrace trainer beside it.`
    return warn(name, `${message}, and the first is ${shown(days)} days old.`, train)
  }
  const promotedAtMs =
    state.history.findLast(({ alias }) => alias === championAlias)?.changedAtMs ?? version.createdAtMs
  const since = predictions.filter(({ appendedAtMs }) => appendedAtMs > promotedAtMs + adoptionMs)
  const unscored = since.filter(({ score }) => score === null)
  if (unscored.length === 0) {
    const scored =
      since.length === 0
        ? `no prediction is newer than champion ${version.version}`
        : `the last ${shown(since.length)} predictions carry a score`
    return ok(name, `${scored}.`)
  }
  const byModel = unscored.filter(({ modelVersion }) => modelVersion !== null)
  const share = unscored.length / since.length
  const message =
    `${shown(unscored.length)} of the last ${shown(since.length)} predictions carry no score although ${version.version} is the champion` +
    (byModel.length > 0 ? `: ${byModel[0]!.modelVersion} gave no number for ${shown(byModel.length)} of them.` : '.')
  const remedy =
    byModel.length > 0
      ? `Roll it back: millrace models rollback ${seen.definition}`
      : 'The processes have not taken it: see their logs, and restart them.'
  return shareCheck(name, share, message, remedy)
}
