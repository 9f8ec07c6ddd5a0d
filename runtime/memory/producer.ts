/** The producer of the memory broker: records come in and are in their partition logs when `send` resolves; opened by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Producer } from '../broker.ts'
import { type Cluster, writeRecords } from './cluster.ts'

export function createMemoryProducer(cluster: Cluster): Producer {
  let closed: Promise<void> | null = null
  const producer: Producer = {
    async send(records) {
      if (closed) throw new PipelineError('kafka_unreachable', 'This producer is closed')
      writeRecords(cluster, records, null)
      cluster.waiting.changed()
      // As with fetches: a caller that sends without a pause must let others run.
      await cluster.clock.turn()
    },
    close() {
      closed ??= Promise.resolve()
      cluster.openParts.delete(producer)
      return closed
    },
  }
  return producer
}
