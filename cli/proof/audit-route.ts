/** The running totals of an audit come in, the page that shows them goes out. Registered by `millrace audit`. */
import type { FastifyPluginAsync } from 'fastify'
import type { SkipReason } from '../../processors/audit/audited-output.ts'
import { replayClasses } from '../../processors/audit/compare-replay.ts'
import type { ReplayCounts } from '../../processors/audit/replay-counts.ts'

/** What `GET /audit` answers, and `--json` writes. */
export interface AuditFigures {
  readonly pipeline: string
  readonly sample: number
  /** Outputs of stages that were compared: repartition records and predictions. */
  readonly checked: number
  readonly predictions: number
  readonly differing: number
  readonly skipped: Partial<Record<SkipReason, number>>
  /** Outputs whose inputs are still to be read. */
  readonly pending: number
  readonly replay: ReplayFigures
}

/** Predictions against the replay of the raw topics in event time. */
export interface ReplayFigures extends Readonly<ReplayCounts> {
  readonly pending: number
}

/** GET /audit. */
export function auditRoute(figures: () => AuditFigures): FastifyPluginAsync {
  return async (server) => {
    server.get('/audit', { schema: auditSchema }, async () => figures())
  }
}

const count = { type: 'integer', minimum: 0 } as const
const replayDifference = {
  type: 'object',
  description: 'The feature that is furthest off, with its event.',
  required: ['class', 'id', 'time', 'origin', 'feature', 'live', 'replay', 'relative'],
  properties: {
    class: { enum: [...replayClasses] },
    id: { type: 'string' },
    time: { type: 'number', description: 'Event time, ms since 1970.' },
    origin: {
      type: 'object',
      required: ['partition', 'offset'],
      properties: { partition: count, offset: count },
    },
    feature: { type: 'string' },
    live: { type: ['number', 'null'] },
    replay: { type: ['number', 'null'] },
    relative: { type: 'number', description: '|live − replay| against the larger of both; 1 where one is missing.' },
  },
} as const
const replayProperties = {
  compared: {
    ...count,
    description: 'Predictions that were computed again from the raw topics in event time and compared.',
  },
  provisional: {
    ...count,
    description: 'Those of them whose streams still accepted events that would change the replay.',
  },
  differing: {
    type: 'object',
    description:
      'Predictions that differ, by the gravest cause. late: an event came out of order within what its stream declares. overtaken: facts ' +
      'were appended after the prediction had passed their instant. early: a task had released events before all sources had passed ' +
      'them. unexplained: none of these.',
    required: [...replayClasses],
    properties: Object.fromEntries(replayClasses.map((cause) => [cause, count])),
  },
  largest: {
    type: 'object',
    description: 'By cause.',
    properties: Object.fromEntries(replayClasses.map((cause) => [cause, replayDifference])),
  },
  skipped: {
    type: 'object',
    additionalProperties: count,
    description: 'Predictions that could not be compared, by reason.',
  },
  pending: { ...count, description: 'Predictions that were read and wait to be compared.' },
} as const
const properties = {
  pipeline: { type: 'string' },
  sample: { type: 'number', description: 'Share of the entities whose outputs are checked.' },
  checked: {
    ...count,
    description: 'Outputs of stages that were computed again from the inputs of their stage and compared.',
  },
  predictions: { ...count, description: 'Those of them that are predictions.' },
  differing: { ...count, description: 'Outputs with a value that differs.' },
  skipped: {
    type: 'object',
    additionalProperties: count,
    description: 'Outputs that could not be checked, by reason.',
  },
  pending: { ...count, description: 'Outputs whose inputs are still to be read.' },
  replay: {
    type: 'object',
    description: 'Predictions against the replay of the raw topics.',
    required: Object.keys(replayProperties),
    properties: replayProperties,
  },
} as const

const auditSchema = {
  operationId: 'audit',
  tags: ['audit'],
  summary: 'How many outputs of the pipeline were computed again, and how many differ.',
  response: {
    200: {
      description: 'The totals since the start of this process.',
      content: {
        'application/json': { schema: { type: 'object', required: Object.keys(properties), properties } },
      },
    },
  },
}
