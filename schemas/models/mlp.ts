/** The multilayer perceptron in a definition: its builder, its checks, and the weights that a version holds. */
import { checkNotNegative, checkWhole, type Parts, type Report } from '../kernel/report.ts'
import { namesOf, optionsIn, type Stray, strayIn } from '../kernel/stray-options.ts'
import { listOf, type ModelKind } from './model-kind.ts'

const layersMax = 8
const unitsMax = 4_096
const epochsMax = 10_000
const batchRowsMax = 1_048_576

/** A multilayer perceptron: fully connected layers with rectifiers between them and one output, the log odds. */
export interface MlpPlan extends Stray {
  readonly kind: 'mlp'
  /** Units of each hidden layer, input side first. */
  readonly hidden: readonly number[]
  /** Passes over the training rows. */
  readonly epochs: number
  /** Rows of a mini-batch. */
  readonly batchRows: number
  /** Step size of Adam at its highest. */
  readonly learningRate: number
  /** Weight decay: the part of every weight that each step takes away is this times the step size. */
  readonly l2: number
}

/** A missing value takes the mean. */
export interface MlpWeights {
  readonly kind: 'mlp'
  readonly features: readonly string[]
  /** An input is sign(x) · ln(1 + |x| / unit), then standardised with mean and scale. */
  readonly units: readonly number[]
  readonly means: readonly number[]
  readonly scales: readonly number[]
  /** Input side first; the last one has one unit, the log odds. Its numbers are single-precision floats. */
  readonly layers: readonly LayerWeights[]
}

export interface LayerWeights {
  /** Row-major: one row an input, one column a unit. */
  readonly weights: readonly number[]
  /** One a unit. */
  readonly biases: readonly number[]
}

export interface MlpOptions {
  /** Units of each hidden layer, such as [64, 32]. */
  readonly hidden: readonly number[]
  /** Passes over the training rows (default 20). */
  readonly epochs?: number
  /** Rows of a mini-batch (default 512). */
  readonly batchRows?: number
  /** Step size of Adam at its highest (default 0.01). */
  readonly learningRate?: number
  /** Weight decay (default 0.1). */
  readonly l2?: number
}

const mlpOptions = namesOf<MlpOptions>({ hidden: true, epochs: true, batchRows: true, learningRate: true, l2: true })

/** Multilayer perceptron on standardised features. */
export function mlp(options: MlpOptions): MlpPlan {
  const { hidden, epochs = 20, batchRows = 512, learningRate = 0.01, l2 = 0.1 } = optionsIn(options)
  // What is no list is reported by the checks.
  const units = Array.isArray(hidden) ? Object.freeze([...hidden]) : hidden!
  return Object.freeze({
    kind: 'mlp',
    hidden: units,
    epochs,
    batchRows,
    learningRate,
    l2,
    ...strayIn(options, mlpOptions),
  })
}

export const mlpKind: ModelKind = {
  builder: 'mlp()',
  options: mlpOptions,
  check: checkMlp,
  weightsFields(namespace) {
    const layerFields = ['weights', 'biases'].map((name) => ({ name, type: listOf('float') }))
    return {
      features: listOf('string'),
      units: listOf('double'),
      means: listOf('double'),
      scales: listOf('double'),
      layers: listOf({ type: 'record', name: 'layer', namespace, fields: layerFields }),
    }
  },
}

function checkMlp({ hidden, epochs, batchRows, learningRate, l2 }: Parts, report: Report): void {
  if (!Array.isArray(hidden)) report('model.hidden', 'the units of each hidden layer, such as [64, 32]', hidden)
  else {
    if (hidden.length < 1 || hidden.length > layersMax)
      report('model.hidden', `1 to ${layersMax} hidden layers`, `${hidden.length}`)
    hidden.slice(0, layersMax).forEach((units, i) => {
      checkWhole(`model.hidden[${i}]`, units, unitsMax, report)
    })
  }
  checkWhole('model.epochs', epochs, epochsMax, report)
  checkWhole('model.batchRows', batchRows, batchRowsMax, report)
  if (!(typeof learningRate === 'number' && learningRate > 0 && learningRate <= 1))
    report('model.learningRate', 'a number above 0 and up to 1', learningRate)
  checkNotNegative('model.l2', l2, report)
}
