/**
 * Logistic regression: labelled vectors in, weights out, and a score from weights. The fit is exact and draws nothing.
 */
import assert from 'node:assert/strict'
import { CholeskyDecomposition, Matrix } from 'ml-matrix'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { LogisticPlan, LogisticWeights } from '../../schemas/models/logistic.ts'
import { exp } from './exponentials.ts'
import type { FitOptions, LearnerStart, Model, ModelCode, OnlineLearner, Scoring, TrainingRows } from './model.ts'
import { networkOf } from './network.ts'
import { createNetworkLearner, type NetworkLearning, type Tuning } from './network-learner.ts'
import { columnScales } from './standardise.ts'
import { openTensors, type Tensors } from './tensors.ts'
import { giveWay, requireBothClasses } from './training-rows.ts'
import { oneEach, standardising } from './weights-checks.ts'

export interface LogisticTraining extends TrainingRows {
  /** Inverse of scikit-learn's C: weight of 0.5·‖w‖² against the summed log-loss. Not negative. */
  readonly l2: number
  readonly iterationsMax: number
}

export interface LogisticFit {
  readonly weights: LogisticWeights
  readonly iterations: number
  /** False when `iterationsMax` ended the fit before the gradient had vanished. */
  readonly converged: boolean
  /** 0.5·l2·‖w‖² + summed log-loss at the weights. */
  readonly objective: number
}

export const logisticCode: ModelCode<LogisticPlan, LogisticWeights> = {
  title: () => 'logistic regression',
  create: createLogistic,
  scoring: logisticScoring,
  summary: ({ features, weights }) => ({
    shape: 'logistic',
    parameters: features.length + 1,
    meaning: 'log odds added by one standard deviation',
    values: features.map((feature, i) => ({ feature, value: weights[i]! })),
  }),
  numbers: ({ weights, intercept }) => [...weights, intercept],
  fromJson: (model, features, check) => ({
    kind: 'logistic',
    features,
    ...standardising(model, features, check),
    weights: oneEach('weights', model, features, check),
    intercept: check.number(model.intercept, 'model.intercept'),
  }),
}

/** A fit that has not converged after so many of Newton's steps will not. */
const iterationsMax = 100

function createLogistic({ l2 }: LogisticPlan): Model {
  return {
    kind: 'logistic',
    async fit(training, options) {
      const { weights, iterations, converged } = await fitLogistic({ ...training, l2, iterationsMax }, options)
      if (converged) return { weights, note: `${iterations} iterations` }
      const { rowCount } = training
      throw new PipelineError(
        'model_untrainable',
        `The fit of ${rowCount} rows did not converge within ${iterations} iterations; raise the model's l2 (now ${l2}).`,
        { details: { rows: rowCount, iterations } },
      )
    },
    learner: async (features, start) => createLearner(l2, features, await openTensors(), start),
  }
}

const tuning: Tuning = {
  newRows: 64,
  positiveDraws: 16,
  negativeDraws: 48,
  steps: 1,
  positivesKept: 2_048,
  negativesKept: 8_192,
  averaging: 0.005,
}
const learningRate = 0.01
/** The penalty is against a sum of losses, and a learner's sum is that of about so many rows. */
const rowsRemembered = 100_000

/** A network without hidden layers. */
function createLearner(l2: number, features: readonly string[], tensors: Tensors, start: LearnerStart): OnlineLearner {
  const learning: NetworkLearning = {
    network: networkOf(features.length, []),
    owner: { kind: 'logistic', features, tuning },
    learningRate,
    decay: l2 / rowsRemembered,
    tuning,
    isLogarithmic: false,
    exported: ({ means, scales }, parameters) => ({
      kind: 'logistic',
      features: [...features],
      means: [...means],
      scales: [...scales],
      weights: [...parameters.subarray(0, features.length)],
      intercept: parameters[features.length]!,
    }),
    scored: (weights) => logisticScoring(weights as LogisticWeights).predict,
  }
  return createNetworkLearner(tensors, learning, start)
}

/** The sum of the contributions and the intercept are the log odds; a missing value takes the mean and so adds nothing. */
export function logisticScoring({ features, means, scales, weights, intercept }: LogisticWeights): Scoring {
  const lengths = [means.length, scales.length, weights.length]
  assert(
    lengths.every((length) => length === features.length),
    `weights with ${features.length} features hold ${lengths.join(', ')} means, scales and weights`,
  )
  const width = features.length
  const centres = Float64Array.from(means)
  const coefficients = Float64Array.from(weights, (weight, i) => weight / scales[i]!)

  function scoreOf(vectors: ArrayLike<number>, from: number): number {
    let margin = intercept
    for (let i = 0; i < width; i++) {
      const value = vectors[from + i]!
      // Only NaN differs from itself: an inline test keeps this loop free of calls.
      // biome-ignore lint/suspicious/noSelfCompare: see above.
      if (value === value) margin += coefficients[i]! * (value - centres[i]!)
    }
    return 1 / (1 + exp(-margin))
  }

  return {
    predict(vector) {
      if (vector.length !== width) assert.fail(`a vector of ${vector.length} values for a model of ${width}`)
      return scoreOf(vector, 0)
    },
    scoreBatch(vectors, count, scores, contributions) {
      for (let row = 0; row < count; row++) scores[row] = scoreOf(vectors, row * width)
      if (contributions === null) return
      for (let row = 0, at = 0; row < count; row++) {
        for (let i = 0; i < width; i++, at++) {
          const value = vectors[at]!
          // biome-ignore lint/suspicious/noSelfCompare: as above.
          contributions[at] = value === value ? coefficients[i]! * (value - centres[i]!) : 0
        }
      }
    },
  }
}

/**
 * Largest gradient component, per row of the rarer class, at which the fit ends; Newton's steps make the last digits
 * cheap.
 */
const gradientTolerance = 1e-10
/** Below this the fit counts as converged although rounding allows no further descent. */
const gradientFloor = 1e-7
const halvingsMax = 40
/**
 * Part of the objective that may be rounding error of its sum: near the optimum a full step may seem to climb by as
 * much.
 */
const objectiveRounding = 1e-11

/**
 * Minimises 0.5·l2·‖w‖² + Σ log-loss over standardised columns by Newton's method; the intercept is not penalised and a
 * missing value takes its column's mean. Rejects with `model_untrainable` without rows or with one class only.
 */
export async function fitLogistic(
  training: LogisticTraining,
  { signal }: Pick<FitOptions, 'signal'> = {},
): Promise<LogisticFit> {
  const { features, l2, iterationsMax } = training
  assert(Number.isFinite(l2) && l2 >= 0, `l2 is ${l2}, expected a finite number that is not negative`)
  assert(Number.isInteger(iterationsMax) && iterationsMax > 0, `iterationsMax is ${iterationsMax}, expected at least 1`)
  signal?.throwIfAborted()
  const { positiveWeight, negativeWeight } = requireBothClasses(training, 'A logistic model')
  const { means, scales } = columnScales(training)
  const rarer = Math.min(positiveWeight, negativeWeight)
  const evaluate = objectiveOf(training, means, scales, l2)

  // The last parameter is the intercept; it starts at the log odds of the classes, where all weights at 0 are already
  // optimal for it.
  let parameters = new Float64Array(features.length + 1)
  parameters[features.length] = Math.log(positiveWeight / negativeWeight)
  let point = evaluate(parameters)
  let iterations = 0
  while (iterations < iterationsMax && point.gradientMax > gradientTolerance * rarer) {
    iterations++
    await giveWay(signal)
    const direction = newtonDirection(point)
    const descent = dot(point.gradient, direction)
    const lower = halveUntilLower(parameters, direction, point.objective, descent, evaluate)
    if (lower === null) break
    parameters = lower.parameters
    point = lower.point
  }
  const weights = parameters.subarray(0, features.length)
  return {
    weights: {
      kind: 'logistic',
      features: [...features],
      means: [...means],
      scales: [...scales],
      weights: [...weights],
      intercept: parameters[features.length]!,
    },
    iterations,
    converged: point.gradientMax <= gradientFloor * rarer,
    objective: point.objective,
  }
}

/** Objective, gradient and Hessian (lower triangle, row-major) at some parameters. */
interface Point {
  readonly objective: number
  readonly gradient: Float64Array
  readonly gradientMax: number
  readonly hessian: Float64Array
}

/**
 * One pass over the rows gives everything a Newton step needs; columns are standardised on the way, so the rows are
 * never copied.
 */
function objectiveOf(
  { rows, labels, rowCount, weights }: TrainingRows,
  means: Float64Array,
  scales: Float64Array,
  l2: number,
): (parameters: Float64Array) => Point {
  const width = means.length
  const size = width + 1
  const inverses = scales.map((scale) => 1 / scale)
  const vector = new Float64Array(size)
  vector[width] = 1
  return (parameters) => {
    const gradient = new Float64Array(size)
    const hessian = new Float64Array(size * size)
    let objective = 0
    for (let row = 0; row < rowCount; row++) {
      const base = row * width
      let margin = parameters[width]!
      for (let column = 0; column < width; column++) {
        const value = rows[base + column]!
        const standardised = Number.isNaN(value) ? 0 : (value - means[column]!) * inverses[column]!
        vector[column] = standardised
        margin += parameters[column]! * standardised
      }
      // Both forms divide by something in [1, 2], so neither tail overflows or loses its digits.
      const tail = Math.exp(-Math.abs(margin))
      const probability = margin >= 0 ? 1 / (1 + tail) : tail / (1 + tail)
      const label = labels[row]!
      const rowWeight = weights === null ? 1 : weights[row]!
      objective += rowWeight * (Math.log1p(tail) + Math.max(label === 1 ? -margin : margin, 0))
      const residual = rowWeight * (probability - label)
      const curvature = (rowWeight * tail) / ((1 + tail) * (1 + tail))
      for (let i = 0; i < size; i++) {
        const value = vector[i]!
        gradient[i]! += residual * value
        const scaled = curvature * value
        const at = i * size
        for (let j = 0; j <= i; j++) hessian[at + j]! += scaled * vector[j]!
      }
    }
    for (let column = 0; column < width; column++) {
      const weight = parameters[column]!
      objective += 0.5 * l2 * weight * weight
      gradient[column]! += l2 * weight
      hessian[column * size + column]! += l2
    }
    let gradientMax = 0
    for (const component of gradient) gradientMax = Math.max(gradientMax, Math.abs(component))
    return { objective, gradient, gradientMax, hessian }
  }
}

/**
 * Solves H·d = −g. A Hessian that is singular (a constant column and l2 0) is lifted by a growing ridge: the direction
 * still descends, and only where the objective is flat is it a choice.
 */
function newtonDirection(point: Point): Float64Array {
  const size = point.gradient.length
  const hessian = new Matrix(size, size)
  let largest = 0
  for (let i = 0; i < size; i++) {
    for (let j = 0; j <= i; j++) {
      hessian.set(i, j, point.hessian[i * size + j]!)
      hessian.set(j, i, point.hessian[i * size + j]!)
    }
    largest = Math.max(largest, point.hessian[i * size + i]!)
  }
  const right = Matrix.columnVector(point.gradient).neg()
  for (let ridge = 0; ridge <= 1; ridge = ridge === 0 ? 1e-12 : ridge * 100) {
    const lifted = hessian.clone()
    for (let i = 0; i < size; i++) lifted.set(i, i, lifted.get(i, i) + ridge * Math.max(largest, Number.MIN_VALUE))
    const cholesky = new CholeskyDecomposition(lifted)
    if (cholesky.isPositiveDefinite()) return Float64Array.from(cholesky.solve(right).to1DArray())
  }
  // All curvature has vanished (every row is beyond doubt): plain descent continues.
  return point.gradient.map((component) => -component)
}

/**
 * The longest of the steps 1, 1/2, 1/4 … that lowers the objective by a fair part of what its slope promises; null when
 * none does.
 */
function halveUntilLower(
  from: Float64Array,
  direction: Float64Array,
  objective: number,
  descent: number,
  evaluate: (parameters: Float64Array) => Point,
): { parameters: Float64Array<ArrayBuffer>; point: Point } | null {
  const rounding = objectiveRounding * Math.abs(objective)
  for (let halvings = 0, step = 1; halvings <= halvingsMax; halvings++, step /= 2) {
    const parameters = Float64Array.from(from, (value, index) => value + step * direction[index]!)
    const point = evaluate(parameters)
    if (point.objective <= objective + 1e-4 * step * descent + rounding) return { parameters, point }
  }
  return null
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!
  return sum
}
