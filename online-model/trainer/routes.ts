/**
 * The trainer over HTTP, a Fastify plugin: how good the models are, what was predicted for an event and its label, and requests for a
 * retraining. Registered by the command with a server of `runtime/http/server.ts`.
 */
import type { FastifyInstance } from 'fastify'
import { failureOf, failureResponse } from '../../runtime/http/failure.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { EvaluationReport } from '../evaluation/report.ts'
import { championAlias, type RegistryState } from '../registry/registry.ts'
import type { FoundPrediction } from '../training-store/find.ts'
import type { StoreStatus, TrainingStore } from '../training-store/store.ts'
import type { Trainer } from './trainer.ts'

export interface TrainerRoutesOptions {
  readonly plan: Pick<Plan, 'name' | 'features' | 'models'>
  readonly store: Pick<TrainingStore, 'status' | 'find'>
  readonly trainer: Trainer
  readonly state: () => RegistryState
}

export interface TrainerResponse {
  readonly pipeline: string
  /** Topic of the registry; unique to this pipeline and namespace. */
  readonly models: string
  readonly champion: string | null
  readonly retraining: { readonly reason: string } | null
  readonly store: {
    /** RFC 3339; null before the first. */
    readonly watermark: string | null
    readonly maturedUntil: string | null
    readonly matured: number
    readonly rows: StoreStatus['rows']
    readonly counts: StoreStatus['counts']
  }
  /** Of the scores that were served, and of challengers' shadow scores by version; null before the first evaluation. */
  readonly served: EvaluationReport | null
  readonly shadows: Readonly<Record<string, EvaluationReport>>
}

export interface PredictionResponse {
  readonly id: string
  readonly time: string
  readonly score: number | null
  readonly modelVersion: string | null
  readonly shadow: FoundPrediction['shadow']
  /** By name; null is missing. */
  readonly features: Readonly<Record<string, number | null>>
  readonly partition: number
  readonly offset: number
  /** Null while it is not known; `time` is null where no label event arrived in time. */
  readonly label: { readonly value: 0 | 1; readonly time: string | null } | null
}

export function trainerRoutes({ plan, store, trainer, state }: TrainerRoutesOptions) {
  return async (server: FastifyInstance): Promise<void> => {
    server.get('/trainer', { schema: trainerSchema }, async (): Promise<TrainerResponse> => {
      const { watermarkMs, maturedUntilMs, maturedSeq, rows, counts } = store.status()
      const evaluation = trainer.evaluation()
      return {
        pipeline: plan.name,
        models: plan.models.topic,
        champion: state().aliases.get(championAlias) ?? null,
        retraining: trainer.retraining(),
        store: {
          watermark: instant(watermarkMs),
          maturedUntil: instant(maturedUntilMs),
          matured: maturedSeq,
          rows,
          counts,
        },
        served: evaluation?.served ?? null,
        shadows: Object.fromEntries(evaluation?.shadows ?? []),
      }
    })
    server.get<{ Params: { id: string } }>('/predictions/:id', { schema: predictionSchema }, async (request, reply) => {
      const { id } = request.params
      const found = await store.find(id)
      if (found) return predictionOf(found, plan)
      const message =
        `The training store holds no prediction of the event ${JSON.stringify(id.slice(0, 100))}: it was never scored, ` +
        'was not read yet, or is older than what is kept.'
      return reply.code(404).send(failureOf('event_unknown', message))
    })
    server.post('/retrain', { schema: retrainSchema }, async (_, reply) => {
      trainer.requestRetraining('HTTP')
      return reply.code(202).send({ status: 'asked for' })
    })
  }
}

function predictionOf(found: FoundPrediction, { features }: Pick<Plan, 'features'>): PredictionResponse {
  const { id, time, score, modelVersion, shadow, partition, offset, label } = found
  const values = features.map(({ name }, i) => {
    const value = found.features[i]!
    return [name, Number.isNaN(value) ? null : value] as const
  })
  return {
    id,
    time: new Date(time).toISOString(),
    score,
    modelVersion,
    shadow,
    features: Object.fromEntries(values),
    partition,
    offset,
    label: label && { value: label.outcome, time: label.time === null ? null : new Date(label.time).toISOString() },
  }
}

function instant(ms: number): string | null {
  return Number.isFinite(ms) ? new Date(ms).toISOString() : null
}

const described = (description: string) => ({
  description,
  content: { 'application/json': { schema: { type: 'object' } } },
})

const trainerSchema = {
  operationId: 'trainer',
  tags: ['learning'],
  summary: 'Progress of the training set and quality of the models.',
  response: { 200: described('Counts, the champion, and the evaluation of what was served.') },
}

const predictionSchema = {
  operationId: 'prediction',
  tags: ['learning'],
  summary: 'What was predicted for an event, by which model, from which vector, and its label once it is known.',
  params: {
    type: 'object',
    required: ['id'],
    properties: { id: { type: 'string', minLength: 1, description: 'the id of a scored event' } },
  },
  response: {
    200: described('The prediction.'),
    404: failureResponse('The training store holds no prediction of this event.'),
  },
}

const retrainSchema = {
  operationId: 'retrain',
  tags: ['learning'],
  summary: 'Requests a retraining as soon as none is running.',
  response: { 202: described('The request is noted.') },
}
