/**
 * Joining a consumer group: a member's stages and former tasks come in, its new membership goes out; called by
 * `membership.ts`. Every attempt is a JoinGroup and a SyncGroup, until the group is stable or the retry budget is spent.
 */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Membership, Task, WorkerOptions } from '../broker.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { failureCode, type KafkaError, namingRight } from './error-codes.ts'
import { assignAll, decodeAssignment, encodeSubscription, protocolName } from './group-protocol.ts'
import { type GroupMember, type Joined, joinGroupRequest, type Synced, syncGroupRequest } from './group-requests.ts'
import { createRetryBudget, type RetryBudget } from './retry-budget.ts'
import { superseded } from './worker-errors.ts'

/** What a member knows of its group between one join and the next. */
export interface MemberState {
  readonly connections: Connections
  readonly options: WorkerOptions
  /** Given out by the coordinator; empty before the first join and once the coordinator no longer knows it. */
  memberId: string
  /** Raised to force a new assignment. */
  round: number
  previousTasks: readonly Task[]
  previousGeneration: number
}

export interface JoinedGroup {
  readonly membership: Membership
  /** The names of all members where this one led the assignment, else null. */
  readonly memberNames: readonly string[] | null
}

export async function joinAndSync(member: MemberState): Promise<JoinedGroup> {
  const { connections, options } = member
  const retryBudget = createRetryBudget(3 * rebalanceTimeoutMs(options) + connections.retryBudgetMs)
  let hasAskedAgain = false
  for (;;) {
    const joined = await joinGroup(member, retryBudget)
    if (typeof joined === 'string') {
      await pauseAfterError(member, 'the join', joined, retryBudget)
      continue
    }
    const synced = await syncGroup(member, joined, retryBudget)
    if (synced.error !== 'NONE') {
      await pauseAfterError(member, 'the sync', synced.error, retryBudget)
      continue
    }
    const assignment = decodeAssignment(synced.assignment)
    const assigned = new Map(assignment.stages.map(({ stage, partitions }) => [stage, partitions]))
    // A restart under a static name gets its former assignment back, made for the stages of that time: ask for a
    // new one, once.
    if (!hasAskedAgain && options.stages.some(({ stage, partitions }) => assigned.get(stage) !== partitions)) {
      hasAskedAgain = true
      member.round++
      continue
    }
    const tasks = assignment.tasks.filter(({ stage }) => options.stages.some((listed) => listed.stage === stage))
    const { generation, memberId, members } = joined
    return {
      membership: Object.freeze({ generation, memberId, tasks: Object.freeze(tasks) }),
      memberNames: isLeader(joined) ? members.map(({ memberId: id, instanceId }) => instanceId ?? id) : null,
    }
  }
}

async function joinGroup(member: MemberState, retryBudget: RetryBudget): Promise<Joined | KafkaError> {
  const { options, previousTasks: previous, previousGeneration: generation, round } = member
  const { stages, sessionTimeoutMs } = options
  const subscription = encodeSubscription(stages, { previous, generation, round })
  const timeouts = { sessionTimeoutMs, rebalanceTimeoutMs: rebalanceTimeoutMs(options) }
  const joined = await askCoordinator(member.connections, {
    kind: 'group',
    key: options.group,
    request: joinGroupRequest(groupMember(member), timeouts, { name: protocolName, subscription }),
    errorOf: ({ error }) => error,
    retryBudget,
  })
  if (joined.error === 'MEMBER_ID_REQUIRED') {
    member.memberId = joined.memberId
    return 'REBALANCE_IN_PROGRESS'
  }
  if (joined.error !== 'NONE') return joined.error
  member.memberId = joined.memberId
  return joined
}

function syncGroup(member: MemberState, joined: Joined, retryBudget: RetryBudget): Promise<Synced> {
  const { connections, options } = member
  const assignments = isLeader(joined) ? assignAll(joined.members, options.stages) : []
  return askCoordinator(connections, {
    kind: 'group',
    key: options.group,
    request: syncGroupRequest(groupMember(member), joined.generation, assignments, rebalanceTimeoutMs(options)),
    errorOf: ({ error }) => error,
    retryBudget,
  })
}

/** Applies what the error means for this member and pauses before the next try. Throws where a further try is useless. */
async function pauseAfterError(
  member: MemberState,
  step: string,
  error: KafkaError,
  retryBudget: RetryBudget,
): Promise<void> {
  const { group, worker } = member.options
  if (error === 'FENCED_INSTANCE_ID') throw superseded(member.options)
  if (error === 'UNKNOWN_MEMBER_ID') member.memberId = ''
  else if (error !== 'REBALANCE_IN_PROGRESS' && error !== 'ILLEGAL_GENERATION')
    throw coordinatorError(member.options, step, error)
  if (await retryBudget.again()) return
  throw new PipelineError(
    'rebalance',
    `Group ${group} did not become stable for "${worker}" in ${Math.round(retryBudget.totalMs / 1000)} s: ${error}`,
    { details: { group, worker, error } },
  )
}

/** An error of the group's coordinator that no further try removes. */
export function coordinatorError({ group, worker }: WorkerOptions, step: string, error: KafkaError): PipelineError {
  return new PipelineError(
    failureCode(error),
    `The coordinator of group ${group} refused ${step} of "${worker}": ${namingRight(error, 'Read')}`,
    { details: { group, worker, error } },
  )
}

export function groupMember({ options, memberId }: MemberState): GroupMember {
  return { group: options.group, instanceId: options.worker, memberId }
}

function isLeader({ leaderId, memberId }: Joined): boolean {
  return leaderId === memberId
}

/** How long the group waits for a member that has to finish a batch before it joins again, ms. */
function rebalanceTimeoutMs({ sessionTimeoutMs, transactionTimeoutMs }: WorkerOptions): number {
  return Math.max(sessionTimeoutMs, transactionTimeoutMs)
}
