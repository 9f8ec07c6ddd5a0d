/**
 * One output of a stage and the events of its entity up to its position in, the verdict out: its values are computed again by the oracle
 * and compared bit for bit. Pure; called by `audit-task.ts`.
 */
import type { EventValues } from '../../schemas/kernel/event.ts'
import { FeatureFailed } from '../../schemas/plan/feature-plan.ts'
import type { Plan, StagePlan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'
import type { AuditedEvent, AuditedOutput, Difference, Verdict } from './audited-output.ts'
import { isAfter, type Oracle, type OracleEvent, type OracleFact } from './oracle.ts'

export interface ComparedStage {
  readonly plan: Plan
  readonly stage: StagePlan
  readonly oracle: Oracle
  /** Null: the version is not known. */
  readonly scoreOf: (version: string) => ((vector: ArrayLike<number>) => number) | null
}

/** Events of the output's entity that the task had read, in order of arrival. */
export interface EntityHistory {
  /** With those that the stage rejected. */
  readonly read: readonly AuditedEvent[]
  readonly accepted: readonly AuditedEvent[]
  /** Records of the output's own event: several where it was requeued. */
  readonly own: readonly AuditedEvent[]
}

/** `latestOf`: no event that the task had read by then is later. */
export function compareOutput(
  compared: ComparedStage,
  output: AuditedOutput,
  history: EntityHistory,
  latestOf: () => number,
): Verdict {
  const { stage, oracle } = compared
  const { accepted, own } = history
  const facts = oracle.facts(accepted)
  const differences = differencesOf(compared, output, own, facts)
  if (differences.length === 0) return scoreVerdict(compared, output)
  const others = otherReadings(oracle, history, facts)
  if (others.some((other) => differencesOf(compared, output, own, other).length === 0))
    return scoreVerdict(compared, output)
  if (others.length > 0) return { kind: 'skipped', reason: 'duplicates' }
  // How far the task's event time had come when a late event was folded is not recorded: facts may have been dropped by then.
  const deadBefore = latestOf() - stage.entity.retentionMs
  const dead = facts.filter(({ countsAt }) => countsAt < deadBefore)
  const isRepeated = (fact: OracleFact) =>
    accepted.some((event) => event.stream === fact.stream && event.id === fact.id && !isSameRecord(event, fact))
  if (oracle.counted(dead, output.sortKey).length > 0 || dead.some(isRepeated))
    return { kind: 'skipped', reason: 'retention' }
  return { kind: 'differing', differences }
}

/** The verdict where the event of the output was not found. */
export function eventMissing({ stage }: ComparedStage, output: AuditedOutput): Verdict {
  const expected = 'a valid event at its origin, before its position'
  return { kind: 'differing', differences: [{ ...describe(stage, output, 'event'), expected, logged: null }] }
}

/**
 * Other facts that the same records may have left: which event of an id was folded first is not recorded where they came out of order, nor
 * whether one that was rejected kept another out.
 */
function otherReadings(oracle: Oracle, { read, accepted }: EntityHistory, facts: readonly OracleFact[]) {
  const inOrder = [...accepted].sort((a, b) => (isAfter(a, b) ? 1 : -1))
  const withRejected = oracle.facts(read).filter((fact) => accepted.some((event) => isSameRecord(event, fact)))
  const isKnown = (fact: OracleFact) => facts.some((known) => isSameRecord(known, fact))
  return [oracle.facts(inOrder), withRejected].filter((other) => other.length !== facts.length || !other.every(isKnown))
}

function differencesOf(
  compared: ComparedStage,
  output: AuditedOutput,
  own: readonly AuditedEvent[],
  facts: readonly OracleFact[],
): Difference[] {
  const { plan, stage, oracle } = compared
  const leavesFact = stage.entity.layout.sources.some(({ stream }) => stream === plan.scored.index)
  if (leavesFact && !own.some((event) => facts.some((fact) => isSameRecord(fact, event)))) {
    const expected = 'no repetition of another event of its id'
    return [{ ...describe(stage, output, 'event'), expected, logged: null }]
  }
  const values = oracle.slots(facts, output.sortKey)
  const { repartition, prediction } = output
  // The output names its raw event by origin; where that was requeued several times, any of the records may be the one.
  const tries = own.map(({ event, slots: carried }) => {
    const slots = slotsOf(compared, carried, values)
    if (prediction) return vectorDifferences(compared, output, prediction, event, slots)
    return slotDifferences(stage, output, repartition!, slots)
  })
  return tries.find((differences) => differences.length === 0) ?? tries[0]!
}

function slotDifferences(
  stage: StagePlan,
  output: AuditedOutput,
  { plan: repartition, slots: logged }: NonNullable<AuditedOutput['repartition']>,
  slots: readonly number[],
): Difference[] {
  return repartition.slots.flatMap(({ index, name }, i) => differenceOf(stage, output, name, slots[index]!, logged[i]!))
}

function vectorDifferences(
  { plan, stage }: ComparedStage,
  output: AuditedOutput,
  { features }: Prediction,
  event: EventValues,
  slots: readonly number[],
): Difference[] {
  return plan.features.flatMap(({ name, compute }, i) => {
    try {
      return differenceOf(stage, output, name, compute(event, slots), features[i]!)
    } catch (error) {
      if (!(error instanceof FeatureFailed)) throw error
      return [{ ...describe(stage, output, name), expected: error.message, logged: nullIfMissing(features[i]!) }]
    }
  })
}

/** Slots of earlier stages come first in the plan, with the values that they were carried with. */
function slotsOf({ plan, stage }: ComparedStage, carried: readonly number[], values: readonly number[]): number[] {
  const slots = new Array<number>(plan.slots.length).fill(Number.NaN)
  carried.forEach((value, index) => {
    slots[index] = value
  })
  stage.entity.slots.forEach(({ index }, i) => {
    slots[index] = values[i]!
  })
  return slots
}

function scoreVerdict({ stage, scoreOf }: ComparedStage, output: AuditedOutput): Verdict {
  if (!output.prediction) return { kind: 'equal' }
  const { modelVersion, score, features, shadow } = output.prediction
  const predict = modelVersion === null ? () => Number.NaN : scoreOf(modelVersion)
  if (!predict) return { kind: 'skipped', reason: 'model_unknown' }
  const differences = differenceOf(stage, output, 'score', predict(features), score ?? Number.NaN)
  for (const { version, score: logged } of shadow) {
    const predictShadow = scoreOf(version)
    if (!predictShadow) return { kind: 'skipped', reason: 'model_unknown' }
    differences.push(...differenceOf(stage, output, `shadow ${version}`, predictShadow(features), logged))
  }
  return differences.length === 0 ? { kind: 'equal' } : { kind: 'differing', differences }
}

/** At most one; the same bits are no difference. */
function differenceOf(
  stage: StagePlan,
  output: AuditedOutput,
  name: string,
  expected: number,
  logged: number,
): Difference[] {
  if (Object.is(expected, logged)) return []
  return [{ ...describe(stage, output, name), expected: nullIfMissing(expected), logged: nullIfMissing(logged) }]
}

function describe({ entity }: StagePlan, { id, sortKey, position }: AuditedOutput, name: string) {
  const { time, partition, offset } = sortKey
  return { stage: entity.name, id, time, origin: { partition, offset }, position, name }
}

function isSameRecord(a: OracleEvent, b: OracleEvent): boolean {
  return a.input === b.input && a.at === b.at
}

/** Missing is null wherever it is written down. */
function nullIfMissing(value: number): number | null {
  return Number.isNaN(value) ? null : value
}
