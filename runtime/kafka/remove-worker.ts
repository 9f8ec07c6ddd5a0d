/** Removes a worker that will not return from its group, so that the others get its tasks; called by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { failureCode } from './error-codes.ts'
import { leaveGroupRequest } from './group-requests.ts'
import { createRetryBudget } from './retry-budget.ts'
import { takeOverProducer, transactionalIdOf } from './transactional-ids.ts'

/** For the id until its next owner sets its own. */
const transactionTimeoutMs = 10_000

export async function removeWorker(connections: Connections, group: string, worker: string): Promise<void> {
  // First, so that the next owner of its tasks finds its offsets decided.
  await takeOverProducer(connections, transactionalIdOf(group, worker), transactionTimeoutMs)
  const error = await askCoordinator(connections, {
    kind: 'group',
    key: group,
    request: leaveGroupRequest({ group, instanceId: worker, memberId: '' }),
    errorOf: (answer) => answer,
    retryBudget: createRetryBudget(connections.retryBudgetMs),
  })
  if (error === 'NONE' || error === 'UNKNOWN_MEMBER_ID' || error === 'GROUP_ID_NOT_FOUND') return
  throw new PipelineError(failureCode(error), `Kafka does not remove "${worker}" from group ${group}: ${error}`, {
    details: { group, worker, error },
  })
}
