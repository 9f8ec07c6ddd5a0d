/** A definition's own model behind the contract of every model: its weights travel as JSON, and what it returns is checked. */
import { isDeepStrictEqual } from 'node:util'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { CustomModel, CustomModelPlan, CustomWeights } from '../../schemas/models/custom.ts'
import { openState, sealState } from './learner-state.ts'
import type { LearnerStart, Model, ModelCode, OnlineLearner, Predict, Scoring } from './model.ts'
import { countClasses } from './training-rows.ts'

export const customCode: ModelCode<CustomModelPlan, CustomWeights> = {
  title: ({ own }) => `own model ${own.name}`,
  create: createCustom,
  scoring(weights, plan) {
    if (plan.kind === 'own' && plan.own.name === weights.name) return customScoring(weights, plan.own)
    throw new PipelineError(
      'state_foreign',
      `The version's weights belong to the definition's own model ${weights.name}, but the definition's model is ` +
        `${plan.kind === 'own' ? `the own model ${plan.own.name}` : plan.kind} now. Train a model on this definition.`,
      { details: { model: weights.name } },
    )
  },
  summary: ({ name }) => ({ shape: `own ${name}`, parameters: 0, meaning: null, values: [] }),
  numbers: () => [],
  fromJson(model, features, check) {
    const json = check.text(model.json, 'model.json')
    return { kind: 'own', name: check.text(model.name, 'model.name'), features, json }
  },
}

function createCustom({ own }: CustomModelPlan): Model {
  return {
    kind: 'own',
    async fit(training, options) {
      options.signal?.throwIfAborted()
      // Rows of the wrong shape are a mistake of ours, which the model must not be blamed for.
      countClasses(training)
      const fitted = await own.fit(training, options)
      options.signal?.throwIfAborted()
      const weights = packed(own, training.features, fitted)
      // Weights that cannot score are found out here and not by the first event.
      const { length } = training.features
      const lacking = new Float64Array(length).fill(Number.NaN)
      customScoring(weights, own).scoreBatch(lacking, 1, new Float64Array(1), new Float64Array(length))
      return { weights, note: `by the definition's own model ${own.name}` }
    },
    learner: own.learner ? async (features, start) => createLearner(own, features, start) : null,
  }
}

function packed(own: CustomModel, features: readonly string[], weights: unknown): CustomWeights {
  return { kind: 'own', name: own.name, features: [...features], json: jsonOf(weights, `the weights of ${own.name}`) }
}

/** Throws `model_untrainable` where JSON would not give back the same. */
function jsonOf(value: unknown, what: string): string {
  const json = JSON.stringify(value) as string | undefined
  if (json !== undefined && isDeepStrictEqual(JSON.parse(json), value)) return json
  throw new PipelineError(
    'model_untrainable',
    `JSON does not carry ${what} as they are: they hold something like NaN, Infinity, undefined, a date or a typed array.`,
    { details: { what } },
  )
}

function createLearner(own: CustomModel, features: readonly string[], { seed, state }: LearnerStart): OnlineLearner {
  const owner = { kind: 'own', name: own.name, features }
  const learner = own.learner!(features, { seed, state: state === null ? null : restored(state, owner) })
  let predict: Predict | null = null
  return {
    learn(vector, label, weight = 1) {
      predict = null
      learner.learn(vector, label, weight)
    },
    predict(vector) {
      predict ??= customScoring(packed(own, features, learner.weights()), own).predict
      return predict(vector)
    },
    weights: () => packed(own, features, learner.weights()),
    save() {
      const json = Buffer.from(jsonOf(learner.save(), `the state of the learner of ${own.name}`))
      return sealState(owner, { length: Float64Array.of(json.length), json })
    },
    close: () => undefined,
  }
}

function restored(state: Buffer, owner: unknown): unknown {
  const length = Float64Array.of(0)
  // The text has a variable length, which precedes it.
  const header = state.indexOf(0x0a) + 1
  new Uint8Array(length.buffer).set(state.subarray(header, header + 8))
  const json = Buffer.alloc(Math.max(0, state.length - header - 8))
  openState(state, owner, { length, json })
  return JSON.parse(json.toString()) as unknown
}

function customScoring({ features, json, name }: CustomWeights, own: CustomModel): Scoring {
  const weights = JSON.parse(json) as unknown
  const answer = own.predictor(weights, features)
  const contributionsOf = own.contributions?.(weights, features)

  function predict(vector: ArrayLike<number>): number {
    const probability = answer(vector)
    if (probability >= 0 && probability <= 1) return probability
    throw new PipelineError(
      'definition_invalid',
      `The definition's own model ${name} answered ${String(probability)} for (${Array.from(vector).join(', ')}); ` +
        'expected a probability from 0 to 1.',
      { details: { model: name } },
    )
  }

  function explained(contributions: ArrayLike<number>): ArrayLike<number> {
    if (contributions.length === features.length) return contributions
    throw new PipelineError(
      'definition_invalid',
      `The definition's own model ${name} gave ${contributions.length} contributions for a vector of ${features.length} ` +
        'features; expected one for each.',
      { details: { model: name } },
    )
  }

  return {
    predict,
    scoreBatch(vectors, count, scores, contributions) {
      contributions?.fill(0)
      for (let row = 0; row < count; row++) {
        const at = row * features.length
        // A copy: the model may keep it, and the batch is written over.
        const vector = vectors.slice(at, at + features.length)
        scores[row] = predict(vector)
        if (contributions && contributionsOf) contributions.set(explained(contributionsOf(vector)), at)
      }
    },
  }
}
