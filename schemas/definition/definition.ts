/**
 * The builders of a pipeline's one definition: plain frozen values that refer to each other. Nothing is checked or started here;
 * `compile` reports every mistake at once. That holds for callers in JavaScript too, so a builder takes what is missing as it is.
 */
import type { Duration } from '../kernel/duration.ts'
import type { FieldValue } from '../kernel/event.ts'
import { namesOf, optionsIn } from '../kernel/stray-options.ts'
import type { ModelPlan } from '../models/models.ts'
import type { PredictionFormat } from '../wire/prediction-format.ts'
import type { Aggregate } from './aggregates.ts'
import { frozenList } from './entity.ts'
import type { LearnDefinition } from './learn-definition.ts'
import type { AnyStream, FieldRef, NumericField } from './stream.ts'

export type {
  CustomLearner,
  CustomModelOptions,
  FitOptions,
  LearnerOptions,
  Predict,
  TrainingRows,
} from '../models/custom.ts'
export * from '../models/models.ts'
export * from './aggregates.ts'
export { type Entity, entity } from './entity.ts'
export { better } from './learn-definition.ts'
export { defineMapping, type MappedValue, type Mapping, type Row, type RowPlace } from './mapping.ts'
export * from './stream.ts'

/** A number computed by an ordinary, pure function from fields of the scored event, aggregates and other derived values. */
export interface Derived {
  readonly kind: 'derived'
  readonly inputs: readonly Input[]
  /** The function given, over its inputs as a list. */
  readonly compute: (values: readonly FieldValue[]) => number | null
  /** Its source, as the runtime has it. */
  readonly text?: string
}

export type Input = FieldRef | Aggregate | Derived
type ValueOf<I> = I extends FieldRef<infer T> ? NonNullable<T> : number
type ValuesOf<I extends readonly Input[]> = { [K in keyof I]: ValueOf<I[K]> }

/**
 * Called only when no input is missing, else the value is missing; return null for missing. Must return a finite number or null, and have
 * no other effect: it is also called with made-up values.
 */
export function derive<const I extends readonly Input[]>(
  inputs: I,
  compute: (...values: ValuesOf<I>) => number | null,
): Derived {
  return Object.freeze({
    kind: 'derived',
    inputs: frozenList(inputs),
    compute: typeof compute === 'function' ? overList(compute) : compute,
    text: String(compute),
  })
}

/** The types of the inputs and of the parameters are one and the same list, which ends at this erasure. */
function overList<I extends readonly Input[]>(compute: (...values: ValuesOf<I>) => number | null): Derived['compute'] {
  return (values) => compute(...(values as unknown as ValuesOf<I>))
}

/** What a vector may contain. */
export type Feature = NumericField | FieldRef<boolean | null, 'flag'> | Aggregate | Derived
export type Features = Readonly<Record<string, Feature>>

export interface Label {
  /** Stream that reports outcomes, under the id of the scored event; the latest report by its own time holds. */
  readonly from: AnyStream
  /**
   * The outcome of every report (0 or 1), or the field of `from` that holds it: a number or flag. Where an optional field is missing, the
   * report withdraws the earlier one.
   */
  readonly value: 0 | 1 | FieldRef<boolean | null, 'flag'> | FieldRef<number | null, 'number' | 'integer'>
  /**
   * What an event is that nothing was reported of. `unknown`: it is neither trained on nor evaluated, and a report is learnt from when it
   * arrives.
   */
  readonly otherwise: 'unknown' | Otherwise
  /**
   * When a report is learnt from. `when-due` (by default): `after` past its event, so that events of one age are learnt from together,
   * whatever their outcome. `on-arrival`: at once, which states that its delay carries no information: that outcomes of one kind come no
   * sooner than those of the other.
   */
  readonly learn?: LabelLearning
}

export interface Otherwise {
  /** The outcome of such an event; `unknown`: it is neither trained on nor evaluated. */
  readonly value: 0 | 1 | 'unknown'
  /** Event time after which that holds. */
  readonly after: Duration
}

export type LabelLearning = (typeof labelLearnings)[number]
export const labelLearnings = ['when-due', 'on-arrival'] as const

export interface Definition<F extends Features> {
  /** Prefix of every derived topic and key. */
  readonly name: string
  /** Tells the predictions of one version from those of another; state and models follow what features mean (docs/evolving.md). */
  readonly version: number
  /** The stream whose events are scored. */
  readonly scores: AnyStream
  /** In vector order; at most 1,000. */
  readonly features: F
  /** Where outcomes are reported, and what holds without a report. */
  readonly label: Label
  /** What is trained: `logisticRegression()`, `mlp()`, `prior()` or `customModel()`. */
  readonly model: ModelPlan
  /** How the model keeps learning; by default only `train` trains it. */
  readonly learn?: LearnDefinition
  /** `exactly-once` (by default), or `at-least-once`: without transactions, sooner, and after a crash some predictions appear again. */
  readonly delivery?: Delivery
  /**
   * How predictions are published: Avro in single-object encoding (by default), JSON, or Avro framed with the id that a schema
   * registry gives the schema. Whatever a topic holds from before is read all the same.
   */
  readonly predictionFormat?: PredictionFormat
}

/**
 * `exactly-once`: every event is predicted once, in one transaction with what was consumed. `at-least-once`: without transactions, and so
 * sooner; after a crash some predictions appear again under the same id, while features count every event once all the same.
 */
export type Delivery = (typeof deliveries)[number]
export const deliveries = ['exactly-once', 'at-least-once'] as const

export interface Pipeline<F extends Features = Features> extends Definition<F> {
  readonly kind: 'pipeline'
}

export const pipelineOptions = namesOf<Definition<Features>>({
  name: true,
  version: true,
  scores: true,
  features: true,
  label: true,
  model: true,
  learn: true,
  delivery: true,
  predictionFormat: true,
})

/** The definition of a pipeline, to be the default export of its file. All of its mistakes are reported together when it is loaded. */
export function definePipeline<const F extends Features>(definition: Definition<F>): Pipeline<F> {
  // Unknown options stay where they are, for the checks to report.
  return Object.freeze({ ...(optionsIn(definition) as Definition<F>), kind: 'pipeline' })
}

/** The vector of a pipeline by name; null is missing. */
export type FeatureValues<P> = P extends Pipeline<infer F> ? { readonly [K in keyof F]: number | null } : never
