/** The errors of fetched partitions come in; they are dropped to be fetched again, or thrown; called by the fetcher. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { listOffsetsRequest } from './cluster-requests.ts'
import type { Connections } from './connections.ts'
import { failureCode, namingRight, staleLeader } from './error-codes.ts'
import type { PartitionFetched } from './fetch-request.ts'

/**
 * Removes failed partitions from `found`; true where there were any and they may be requested again from their (new)
 * leaders. Throws `log_truncated` for an offset outside of the log and `kafka_request_failed` for a permanent error.
 */
export async function handleFetchErrors(
  connections: Connections,
  found: Map<string, PartitionFetched>,
): Promise<boolean> {
  let again = false
  for (const [key, partition] of found) {
    if (partition.error === 'NONE') continue
    found.delete(key)
    again = true
    if (partition.error === 'OFFSET_OUT_OF_RANGE') await checkRange(connections, partition)
    else if (!staleLeader.has(partition.error)) {
      const { topic, partition: number, error, from } = partition
      throw new PipelineError(
        failureCode(error),
        `Kafka refused to read ${topic}, partition ${number}, from ${from}: ${namingRight(error, 'Read')}`,
        {
          details: { topic, partition: number, offset: from, error },
        },
      )
    }
  }
  return again
}

/** Returns where the leader cannot answer at the moment: the partition is fetched again. */
async function checkRange(connections: Connections, partition: PartitionFetched): Promise<void> {
  const nodeId = connections.leaderOf(partition)
  if (nodeId === undefined) return
  const [start] = await connections.send(nodeId, listOffsetsRequest([partition], 'start'))
  const [end] = await connections.send(nodeId, listOffsetsRequest([partition], 'stableEnd'))
  if (start?.error !== 'NONE' || end?.error !== 'NONE') return
  const { topic, partition: number, from } = partition
  if (from >= start.offset && from <= end.offset) return
  const details = { topic, partition: number, offset: from, start: start.offset, end: end.offset }
  const subject = `Offset ${from} of ${topic}, partition ${number},`
  throw from < start.offset
    ? new PipelineError('log_truncated', `${subject} is gone: the log starts at ${start.offset}`, { details })
    : new PipelineError(
        'log_truncated',
        `${subject} lies beyond the end of the log at ${end.offset}: Kafka lost records, or the topic was created again`,
        { details },
      )
}
