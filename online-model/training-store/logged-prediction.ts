/** A record of the topic of predictions in, the prediction out; called by whoever trains on what was logged. */
import type { LogRecord, TopicPartition } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Prediction } from '../../schemas/wire/records.ts'

/** Throws `record_unreadable`, with where the record lies if it has no value. */
export function loggedPrediction(
  { value, offset }: LogRecord,
  { topic, partition }: TopicPartition,
  { codec }: Plan['predictions'],
): Prediction {
  if (value !== null) return codec.decode(value)
  const position = `${topic} partition ${partition} offset ${offset}`
  throw new PipelineError('record_unreadable', `The prediction at ${position} has no value.`, { details: { position } })
}
