/** The card-fraud pipeline without transactions: what exactly once costs is the difference. */
import cardFraud from '../pipelines/card-fraud.ts'
import { definePipeline } from '../schemas/definition/definition.ts'

export default definePipeline({ ...cardFraud, delivery: 'at-least-once' })
