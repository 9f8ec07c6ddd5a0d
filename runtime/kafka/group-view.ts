/** Describes a group from outside: its name comes in, members with their tasks go out; called by `broker.ts`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { GroupView } from '../broker.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { failureCode } from './error-codes.ts'
import { decodeAssignment } from './group-protocol.ts'
import { describeGroupRequest } from './group-requests.ts'
import { createRetryBudget } from './retry-budget.ts'

const states: Readonly<Record<string, GroupView['state']>> = {
  Dead: 'empty',
  Empty: 'empty',
  PreparingRebalance: 'assigning',
  CompletingRebalance: 'assigning',
  Stable: 'stable',
}

export async function groupView(connections: Connections, group: string): Promise<GroupView> {
  const { error, state, members } = await askCoordinator(connections, {
    kind: 'group',
    key: group,
    request: describeGroupRequest(group),
    errorOf: (answer) => answer.error,
    retryBudget: createRetryBudget(connections.retryBudgetMs),
  })
  const known = states[state]
  if (error !== 'NONE' || known === undefined) {
    throw new PipelineError(failureCode(error), `Kafka does not describe group ${group}: ${error}, state ${state}`, {
      details: { group, error, state },
    })
  }
  return {
    state: known,
    members: members.map(({ memberId, instanceId, host, assignment }) => ({
      worker: instanceId ?? memberId,
      // Java writes an address after its name, which is empty here.
      host: host.replace(/^\//, ''),
      tasks: assignment.length === 0 ? [] : decodeAssignment(assignment).tasks,
    })),
  }
}
