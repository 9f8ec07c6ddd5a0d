/**
 * What a champion has done since it was promoted in, whether to roll it back and why out: realised degradation, by labels that have
 * matured. Called by the trainer with every evaluation. Pure.
 */
import assert from 'node:assert/strict'
import type { QualityMetric } from '../../schemas/models/quality-metrics.ts'
import { countClasses, finite, type GateDecision, gainSentence } from './gates.ts'
import { type EvaluationRows, pairedGain } from './paired-bootstrap.ts'

export interface RollbackLimits {
  /** Tested again with every evaluation, so that it must be rarer than a single test would need. */
  readonly confidence: number
  readonly iterations: number
  /** Fewer of either class since the promotion decide nothing. */
  readonly positivesMin: number
  readonly negativesMin: number
  /** Beyond doubt worse than the former champion by less than this is not worth a change. */
  readonly lossMin: number
}

export const defaultRollbackLimits: RollbackLimits = {
  confidence: 0.99,
  iterations: 300,
  positivesMin: 30,
  negativesMin: 30,
  lossMin: 0.005,
}

export interface RollbackInput {
  /** Mature rows that the champion has scored since its promotion. */
  readonly rows: EvaluationRows
  readonly champion: { readonly version: string; readonly scores: ArrayLike<number> }
  /** The former champion's shadow scores of the same rows; null where it scored none. */
  readonly former: { readonly version: string; readonly scores: ArrayLike<number> } | null
  readonly metric: QualityMetric
  readonly seed: number
  readonly limits?: Partial<RollbackLimits>
}

export type RollbackDecision = Omit<GateDecision, 'promote'> & { readonly rollBack: boolean }

/** Shadow scores on the same rows decide: where the data has drifted, the former champion would not do any better. */
export function shouldRollBack(input: RollbackInput): RollbackDecision {
  const { rows, champion, former, metric, seed } = input
  const limits = { ...defaultRollbackLimits, ...input.limits }
  const { confidence, iterations } = limits
  const count = rows.labels.length
  assert(champion.scores.length === count, `${champion.scores.length} scores of the champion for ${count} rows`)
  const counts = countClasses(rows)
  const measures: Record<string, number> = { rows: count, ...counts }
  const decide = (rollBack: boolean, reason: string): RollbackDecision => {
    return { rollBack, reasons: [reason], measures: finite(measures) }
  }
  if (counts.positives < limits.positivesMin || counts.negatives < limits.negativesMin) {
    return decide(
      false,
      `Since the promotion of ${champion.version} ${counts.positives} positives and ${counts.negatives} negatives have matured; ` +
        `${limits.positivesMin} and ${limits.negativesMin} are needed to decide.`,
    )
  }
  if (former === null) {
    return decide(false, `${champion.version} has no shadow scores of a former champion to be compared with.`)
  }
  assert(former.scores.length === count, `${former.scores.length} shadow scores for ${count} rows`)
  const paired = pairedGain(rows, champion.scores, former.scores, { metric, seed, iterations, confidence })
  measures[`champion.${metric}`] = paired.value
  measures[`former.${metric}`] = paired.other
  measures.gain = paired.gain
  measures.gainLower = paired.lower
  measures.gainUpper = paired.upper
  const sentence = gainSentence(champion.version, former.version, metric, paired, confidence)
  return decide(paired.upper < 0 && paired.gain <= -limits.lossMin, `${sentence}.`)
}
