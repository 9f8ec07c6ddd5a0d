/** The running totals of an audit come in, the page that shows them goes out. Registered by `millrace audit`. */
import type { FastifyPluginAsync } from 'fastify'
import type { SkipReason } from '../../processors/audit/audited-output.ts'

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
}

/** GET /audit. */
export function auditRoute(figures: () => AuditFigures): FastifyPluginAsync {
  return async (server) => {
    server.get('/audit', { schema: auditSchema }, async () => figures())
  }
}

const count = { type: 'integer', minimum: 0 } as const
const properties = {
  pipeline: { type: 'string' },
  sample: { type: 'number', description: 'Share of the entities whose outputs are checked.' },
  checked: { ...count, description: 'Outputs of stages that were computed again and compared.' },
  predictions: { ...count, description: 'Those of them that are predictions.' },
  differing: { ...count, description: 'Outputs with a value that differs.' },
  skipped: {
    type: 'object',
    additionalProperties: count,
    description: 'Outputs that could not be checked, by reason.',
  },
  pending: { ...count, description: 'Outputs whose inputs are still to be read.' },
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
