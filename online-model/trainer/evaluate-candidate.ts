/**
 * From what the trainer has to what the gates ask for: rows that a candidate has not learnt from with its scores and those that were
 * served, and what a champion did since its promotion. Called by the trainer.
 */
import type { Clock } from '../../runtime/clock.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { evaluateCandidate, type GateDecision } from '../evaluation/gates.ts'
import type { EvaluationRows } from '../evaluation/paired-bootstrap.ts'
import { type RollbackDecision, shouldRollBack } from '../evaluation/rollback-check.ts'
import { latencyVectorsMax, scoringLatency } from '../evaluation/scoring-latency.ts'
import { predictor } from '../models/scorer.ts'
import { championAlias, isRolledBack, lastChange, type RegistryState } from '../registry/registry.ts'
import type { MatureRows } from '../training-store/store.ts'
import type { ScoredRows } from './recent-scores.ts'

export interface GateEvaluatorParts {
  readonly plan: Plan
  readonly state: () => RegistryState
  readonly clock: Pick<Clock, 'elapsedMs'>
  readonly seed: number
}

export interface GateEvaluators {
  /** By what the learner said of each row before it learnt from it. `vectors`: some, to time the scoring with. */
  learnt(recent: ScoredRows, vectors: Float64Array): GateEvaluator
  /** By rows later than all that the candidate was trained on. */
  trained(mature: MatureRows): GateEvaluator
  /** Whether the champion is to be taken back, from rows of its time. */
  standing(mature: MatureRows, champion: ModelVersion): RollbackDecision
}

export type GateEvaluator = (candidate: ModelVersion, against: ModelVersion | null) => GateDecision

/** What was served is the champion's part: it had not seen the labels either, whichever version it was at the time. */
interface Contest {
  readonly labels: Uint8Array
  readonly weights: Float64Array
  readonly keys: ReadonlyArray<string | null>
  readonly candidate: Float64Array
  readonly served: Float64Array
}

export function createGateEvaluators({ plan, state, clock, seed }: GateEvaluatorParts): GateEvaluators {
  const width = plan.features.length
  const { metric } = plan.learn.promoteIf
  const elapsedUs = () => clock.elapsedMs() * 1_000

  function decide(contest: Contest, vectors: Float64Array, candidate: ModelVersion, against: ModelVersion | null) {
    // Where nothing was served there is nothing to be compared with.
    const rows = rowsWhere(contest, (row) => against === null || Number.isFinite(contest.served[row]!))
    const judged: EvaluationRows = { labels: rows.labels, weights: rows.weights, blocks: blocksOf(rows.keys) }
    return evaluateCandidate({
      rows: judged,
      candidate: {
        version: candidate.version,
        scores: rows.candidate,
        latency:
          vectors.length < width
            ? null
            : scoringLatency(predictor(candidate.model, plan), { rows: vectors, width }, elapsedUs),
        recordBytes: plan.models.codec.encode(candidate).length,
        wasRolledBack: isRolledBack(state(), candidate.version),
      },
      champion: against && { version: against.version, scores: rows.served },
      metric,
      seed,
    })
  }

  return {
    learnt: (recent, vectors) => (candidate, against) => decide(recent, vectors, candidate, against),
    trained: (mature) => (candidate, against) => {
      const score = predictor(candidate.model, plan)
      const scores = Float64Array.from({ length: mature.rowCount }, (_, row) =>
        score(mature.rows.subarray(row * width, (row + 1) * width)),
      )
      const vectors = mature.rows.subarray(0, latencyVectorsMax * width)
      const contest = {
        labels: mature.labels,
        weights: mature.weights,
        keys: mature.keys,
        candidate: scores,
        served: mature.scores,
      }
      return decide(contest, vectors, candidate, against)
    },
    standing(mature, champion) {
      const change = lastChange(state(), championAlias)
      const former = change?.version === champion.version ? change.previous : null
      const shadowOf = (row: number) =>
        mature.shadows[row]!.find(({ version }) => version === former)?.score ?? Number.NaN
      const own = (row: number) => mature.versions[row] === champion.version && Number.isFinite(mature.scores[row]!)
      const all = Array.from({ length: mature.rowCount }, (_, row) => row)
      const paired = all.filter((row) => own(row) && Number.isFinite(shadowOf(row)))
      const rows = paired.length > 0 ? paired : all.filter(own)
      const pick = (of: (row: number) => number) => Float64Array.from(rows, of)
      return shouldRollBack({
        rows: {
          labels: Uint8Array.from(rows, (row) => mature.labels[row]!),
          weights: pick((row) => mature.weights[row]!),
          blocks: blocksOf(rows.map((row) => mature.keys[row]!)),
        },
        champion: { version: champion.version, scores: pick((row) => mature.scores[row]!) },
        former: former !== null && paired.length > 0 ? { version: former, scores: pick(shadowOf) } : null,
        metric,
        seed,
      })
    },
  }
}

function rowsWhere({ labels, weights, keys, candidate, served }: Contest, takes: (row: number) => boolean): Contest {
  const rows = Array.from({ length: labels.length }, (_, row) => row).filter(takes)
  return {
    labels: Uint8Array.from(rows, (row) => labels[row]!),
    weights: Float64Array.from(rows, (row) => weights[row]!),
    keys: rows.map((row) => keys[row]!),
    candidate: Float64Array.from(rows, (row) => candidate[row]!),
    served: Float64Array.from(rows, (row) => served[row]!),
  }
}

/** A row without a key is an entity of its own. */
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
