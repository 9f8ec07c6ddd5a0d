/**
 * A candidate's and the champion's scores of rows that neither was trained on in, whether to promote and why out; called by the trainer
 * with rows later than both. Pure: what must be timed is handed in.
 */
import assert from 'node:assert/strict'
import type { QualityMetric } from '../../schemas/models/quality-metrics.ts'
import { registryRecordBytesMax } from '../registry/writer.ts'
import { calibrationError } from './metrics.ts'
import { type EvaluationRows, type PairedGain, pairedGain } from './paired-bootstrap.ts'

export interface Latency {
  readonly p50Us: number
  readonly p99Us: number
}

export interface Candidate {
  readonly version: string
  /** One a row, probabilities of 1. */
  readonly scores: ArrayLike<number>
  /** Of one vector, in-process; null where it was not measured, which the reasons mention. */
  readonly latency: Latency | null
  /** Size of its record in the registry. */
  readonly recordBytes: number
  /** `isRolledBack` of the registry. */
  readonly wasRolledBack: boolean
}

export interface GateLimits {
  /** The lower bound of the gain must be above it: 0 requires a certain improvement, a negative bound limits the loss. */
  readonly gainMin: number
  /** Of the gain's bound. */
  readonly confidence: number
  /** Resamples: at 100,000 rows a second or two of average precision. */
  readonly iterations: number
  /** Fewer of either class in the rows decide nothing. */
  readonly positivesMin: number
  readonly negativesMin: number
  /** A candidate that is calibrated worse may still be no worse than the champion. */
  readonly calibrationErrorMax: number
  readonly latencyP50MaxUs: number
  readonly latencyP99MaxUs: number
  readonly recordBytesMax: number
  /** A model that gives a larger share of the rows the same score does not discriminate. */
  readonly sameScoreShareMax: number
}

export const defaultGateLimits: GateLimits = {
  gainMin: 0,
  confidence: 0.9,
  iterations: 300,
  positivesMin: 30,
  negativesMin: 30,
  calibrationErrorMax: 0.05,
  latencyP50MaxUs: 100,
  latencyP99MaxUs: 1_000,
  recordBytesMax: registryRecordBytesMax,
  sameScoreShareMax: 0.99,
}

export interface GateInput {
  readonly rows: EvaluationRows
  readonly candidate: Candidate
  /** Null: there is none, and the candidate must beat the best constant instead. */
  readonly champion: { readonly version: string; readonly scores: ArrayLike<number> } | null
  readonly metric: QualityMetric
  readonly seed: number
  readonly limits?: Partial<GateLimits>
}

export interface GateDecision {
  readonly promote: boolean
  /** Whole sentences: every reason against the candidate, or the reasons for it. */
  readonly reasons: readonly string[]
  /** The figures of the sentences, for the registry. Only finite numbers. */
  readonly measures: Readonly<Record<string, number>>
}

/** All gates are checked, so that a rejection names every reason at once; those on quality only where the scores are valid. */
export function evaluateCandidate(input: GateInput): GateDecision {
  const { rows, candidate, champion } = input
  const limits = { ...defaultGateLimits, ...input.limits }
  const count = rows.labels.length
  assert(candidate.scores.length === count, `${candidate.scores.length} scores of the candidate for ${count} rows`)
  assert(champion === null || champion.scores.length === count, `scores of the champion for other rows`)
  const counts = countClasses(rows)
  const measures: Record<string, number> = { rows: count, ...counts, recordBytes: candidate.recordBytes }
  const against: string[] = []
  const pro: string[] = []

  if (candidate.wasRolledBack) against.push(`${candidate.version} was rolled back; only a command promotes it again.`)
  checkFootprint(candidate, limits, measures, against, pro)
  const isEnough = counts.positives >= limits.positivesMin && counts.negatives >= limits.negativesMin
  if (!isEnough) {
    against.push(
      `The later rows hold ${counts.positives} positives and ${counts.negatives} negatives; ` +
        `${limits.positivesMin} and ${limits.negativesMin} are needed to decide.`,
    )
  }
  const isSound = checkScores(candidate, limits, measures, against)
  if (isSound && isEnough) {
    checkQuality(input, limits, measures, against, pro)
    checkCalibration(input, limits, measures, against, pro)
  }
  const promote = against.length === 0
  return { promote, reasons: promote ? pro : against, measures: finite(measures) }
}

function checkFootprint(
  { version, latency, recordBytes }: Candidate,
  limits: GateLimits,
  measures: Record<string, number>,
  against: string[],
  pro: string[],
): void {
  if (recordBytes > limits.recordBytesMax) {
    against.push(`The record of ${version} takes ${recordBytes} bytes, more than ${limits.recordBytesMax}.`)
  }
  if (latency === null) {
    pro.push('Its scoring time was not measured.')
    return
  }
  const { p50Us, p99Us } = latency
  measures.latencyP50Us = p50Us
  measures.latencyP99Us = p99Us
  for (const [name, value, max] of [
    ['half', p50Us, limits.latencyP50MaxUs],
    ['99 %', p99Us, limits.latencyP99MaxUs],
  ] as const) {
    if (!(value <= max))
      against.push(`${version} scores ${name} of the vectors within ${shown(value)} µs; ${max} are allowed.`)
  }
}

/** Whether the scores can be measured at all. */
function checkScores(
  { version, scores }: Candidate,
  limits: GateLimits,
  measures: Record<string, number>,
  against: string[],
): boolean {
  const byScore = new Map<number, number>()
  let unsound = 0
  for (let row = 0; row < scores.length; row++) {
    const score = scores[row]!
    if (!(score >= 0 && score <= 1)) unsound++
    else byScore.set(score, (byScore.get(score) ?? 0) + 1)
  }
  if (unsound > 0) {
    against.push(`${version} gives ${unsound} of ${scores.length} rows no score between 0 and 1.`)
    return false
  }
  if (scores.length === 0) return true
  let most = 0
  for (const count of byScore.values()) most = Math.max(most, count)
  measures.distinctScores = byScore.size
  measures.sameScoreShare = most / scores.length
  if (byScore.size === 1) against.push(`${version} gives every row the same score.`)
  else if (most / scores.length > limits.sameScoreShareMax) {
    against.push(
      `${version} gives ${most} of ${scores.length} rows the same score; ` +
        `${shown(100 * limits.sameScoreShareMax)} % of them are allowed.`,
    )
  }
  return true
}

function checkQuality(
  { rows, candidate, champion, metric, seed }: GateInput,
  limits: GateLimits,
  measures: Record<string, number>,
  against: string[],
  pro: string[],
): void {
  const { confidence, iterations, gainMin } = limits
  // The share of positives among the very rows is the best that a constant can do.
  const constant = () => new Float64Array(rows.labels.length).fill(shareOfPositives(rows))
  const other = champion?.scores ?? constant()
  const paired = pairedGain(rows, candidate.scores, other, { metric, seed, iterations, confidence })
  measures[`candidate.${metric}`] = paired.value
  measures[`${champion ? 'champion' : 'constant'}.${metric}`] = paired.other
  measures.gain = paired.gain
  measures.gainLower = paired.lower
  measures.gainUpper = paired.upper
  const sentence = gainSentence(candidate.version, champion?.version ?? 'the best constant', metric, paired, confidence)
  if (paired.lower > gainMin) pro.push(`${sentence}.`)
  else against.push(`${sentence}; it must be above ${shown(gainMin)}.`)
}

function checkCalibration(
  { rows, candidate, champion }: GateInput,
  limits: GateLimits,
  measures: Record<string, number>,
  against: string[],
  pro: string[],
): void {
  const { labels, weights } = rows
  const own = calibrationError(labels, candidate.scores, { weights })
  measures['candidate.calibrationError'] = own
  let allowed = limits.calibrationErrorMax
  if (champion !== null) {
    const current = calibrationError(labels, champion.scores, { weights })
    measures['champion.calibrationError'] = current
    allowed = Math.max(allowed, current)
  }
  const sentence = `Its calibration error is ${shown(own)}`
  if (own <= allowed) pro.push(`${sentence}, ${shown(allowed)} is allowed.`)
  else against.push(`The calibration error of ${candidate.version} is ${shown(own)}; ${shown(allowed)} is allowed.`)
}

export function gainSentence(
  version: string,
  other: string,
  metric: QualityMetric,
  { value, other: otherValue, gain, lower, upper }: PairedGain,
  confidence: number,
): string {
  const way = gain >= 0 ? 'better' : 'worse'
  return (
    `${version} is ${shown(Math.abs(gain))} ${way} than ${other} in ${metric} (${shown(value)} against ${shown(otherValue)}), ` +
    `with ${shown(100 * confidence)} % confidence at least ${shown(lower)} and at most ${shown(upper)}`
  )
}

export function countClasses({ labels }: Pick<EvaluationRows, 'labels'>): { positives: number; negatives: number } {
  let positives = 0
  for (let row = 0; row < labels.length; row++) positives += labels[row]!
  return { positives, negatives: labels.length - positives }
}

function shareOfPositives({ labels, weights }: EvaluationRows): number {
  let positives = 0
  let total = 0
  for (let row = 0; row < labels.length; row++) {
    const weight = weights === null ? 1 : weights[row]!
    total += weight
    if (labels[row] === 1) positives += weight
  }
  return positives / total
}

export function shown(value: number): string {
  return String(Number(value.toPrecision(4)))
}

export function finite(measures: Readonly<Record<string, number>>): Record<string, number> {
  return Object.fromEntries(Object.entries(measures).filter(([, value]) => Number.isFinite(value)))
}
