/**
 * From what the trainer has to what the gates need: rows that a candidate has not learnt from, with its scores and those that were
 * served; and what a champion did since its promotion. Called by steps 3 to 5 of the trainer.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { evaluateCandidate, type GateDecision } from '../evaluation/gates.ts'
import type { EvaluationRows } from '../evaluation/paired-bootstrap.ts'
import { type RollbackDecision, shouldRollBack } from '../evaluation/rollback-check.ts'
import { latencyVectorsMax, scoringLatency } from '../evaluation/scoring-latency.ts'
import { predictor } from '../models/scorer.ts'
import { championAlias, isRolledBack, lastChange } from '../registry/registry.ts'
import type { RegistryWriter } from '../registry/writer.ts'
import type { MatureRows } from '../training-store/store.ts'
import type { EvaluateCandidate } from './candidates.ts'
import type { ScoredRows } from './recent-scores.ts'

export interface EvaluationParts {
  readonly plan: Plan
  readonly registry: Pick<RegistryWriter, 'state'>
  readonly clock: Pick<Clock, 'elapsedMs'>
  readonly seed: number
}

/** The champion's scores are those that were served: it had not seen the labels either, whichever version it was at the time. */
interface ComparedScores {
  readonly labels: Uint8Array
  readonly weights: Float64Array
  readonly keys: ReadonlyArray<string | null>
  readonly candidate: Float64Array
  readonly served: Float64Array
}

/** By the learner's score of each row before it learnt from it. `vectors`: some, to time the scoring with. */
export function evaluateLearnt(parts: EvaluationParts, recent: ScoredRows, vectors: Float64Array): EvaluateCandidate {
  return (candidate, champion) => decide(parts, recent, vectors, candidate, champion)
}

/** By rows later than all that the candidate was trained on. */
export function evaluateTrained(parts: EvaluationParts, heldOut: MatureRows): EvaluateCandidate {
  return (candidate, champion) => {
    const { plan } = parts
    const width = plan.features.length
    const score = predictor(candidate.model, plan)
    const scores = Float64Array.from({ length: heldOut.rowCount }, (_, row) =>
      score(heldOut.rows.subarray(row * width, (row + 1) * width)),
    )
    const { labels, weights, keys, scores: served } = heldOut
    const vectors = heldOut.rows.subarray(0, latencyVectorsMax * width)
    return decide(parts, { labels, weights, keys, candidate: scores, served }, vectors, candidate, champion)
  }
}

/** Whether to roll the champion back, by the mature rows that it scored: those that its predecessor scored in shadow, if there are any. */
export function evaluateChampion(parts: EvaluationParts, mature: MatureRows, champion: ModelVersion): RollbackDecision {
  const change = lastChange(parts.registry.state(), championAlias)
  const former = change?.version === champion.version ? change.previous : null
  const shadowOf = (row: number) => mature.shadows[row]!.find(({ version }) => version === former)?.score ?? Number.NaN
  const isScored = (row: number) => mature.versions[row] === champion.version && Number.isFinite(mature.scores[row]!)
  const scored = Array.from({ length: mature.rowCount }, (_, row) => row).filter(isScored)
  const paired = scored.filter((row) => Number.isFinite(shadowOf(row)))
  const rows = paired.length > 0 ? paired : scored
  const pick = (of: (row: number) => number) => Float64Array.from(rows, of)
  return shouldRollBack({
    rows: {
      labels: Uint8Array.from(rows, (row) => mature.labels[row]!),
      weights: pick((row) => mature.weights[row]!),
      blocks: blocksOf(rows.map((row) => mature.keys[row]!)),
    },
    champion: { version: champion.version, scores: pick((row) => mature.scores[row]!) },
    former: former !== null && paired.length > 0 ? { version: former, scores: pick(shadowOf) } : null,
    metric: parts.plan.learn.promoteIf.metric,
    seed: parts.seed,
  })
}

function decide(
  { plan, registry, clock, seed }: EvaluationParts,
  scores: ComparedScores,
  vectors: Float64Array,
  candidate: ModelVersion,
  champion: ModelVersion | null,
): GateDecision {
  const width = plan.features.length
  const elapsedUs = () => clock.elapsedMs() * 1_000
  // A row that no model scored cannot be compared.
  const compared = rowsWhere(scores, (row) => champion === null || Number.isFinite(scores.served[row]!))
  const rows: EvaluationRows = {
    labels: compared.labels,
    weights: compared.weights,
    blocks: blocksOf(compared.keys),
  }
  return evaluateCandidate({
    rows,
    candidate: {
      version: candidate.version,
      scores: compared.candidate,
      latency:
        vectors.length < width
          ? null
          : scoringLatency(predictor(candidate.model, plan), { rows: vectors, width }, elapsedUs),
      recordBytes: plan.models.codec.encode(candidate).length,
      wasRolledBack: isRolledBack(registry.state(), candidate.version),
    },
    champion: champion && { version: champion.version, scores: compared.served },
    metric: plan.learn.promoteIf.metric,
    seed,
  })
}

function rowsWhere(scores: ComparedScores, isWanted: (row: number) => boolean): ComparedScores {
  const { labels, weights, keys, candidate, served } = scores
  const rows = Array.from({ length: labels.length }, (_, row) => row).filter(isWanted)
  return {
    labels: Uint8Array.from(rows, (row) => labels[row]!),
    weights: Float64Array.from(rows, (row) => weights[row]!),
    keys: rows.map((row) => keys[row]!),
    candidate: Float64Array.from(rows, (row) => candidate[row]!),
    served: Float64Array.from(rows, (row) => served[row]!),
  }
}

/** A number for each key, so that rows of one entity are resampled together; a row without a key is an entity of its own. */
function blocksOf(keys: ReadonlyArray<string | null>): Int32Array {
  const codes = new Map<string, number>()
  let next = 0
  return Int32Array.from(keys, (key) => {
    const known = key === null ? undefined : codes.get(key)
    if (known !== undefined) return known
    if (key !== null) codes.set(key, next)
    return next++
  })
}
