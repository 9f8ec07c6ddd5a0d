/**
 * A worker's membership in the consumer group: joins, keeps the heartbeat going, and knows when the membership has
 * ended. Used by `worker.ts`.
 */
import assert from 'node:assert/strict'
import type { Membership, WorkerOptions } from '../broker.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { coordinatorError, groupMember, joinAndSync, type MemberState } from './group-join.ts'
import { heartbeatRequest, leaveGroupRequest } from './group-requests.ts'
import { createHeartbeat, type Heartbeat } from './heartbeat.ts'
import { createRetryBudget } from './retry-budget.ts'
import { endAbandoned } from './transactional-ids.ts'

export interface GroupMembership {
  join(): Promise<Membership>
  isCurrent(membership: Membership): boolean
  /** Whether this is the latest membership and the coordinator, as far as is known, has not ended it. */
  isHeld(membership: Membership): boolean
  /**
   * Asks the group whether another process has joined under this worker's name. One that takes over fences the
   * producer shortly before it joins, so the question is repeated for a while.
   */
  isSuperseded(): Promise<boolean>
  /** See `Worker.leave`. */
  leave(): Promise<void>
  /** Stops the heartbeat; the coordinator keeps the member until the session times out. */
  stop(): void
}

/** A process that starts fences the former producer of its name and joins the group at most this much later, ms. */
const supersededWithinMs = 1_500
/** Leaving only helps the other members: an unreachable group must not delay a shutdown for long, ms. */
const leaveWithinMs = 1_000
/** How soon a member learns of a rebalance, ms; the others wait for the last one. */
const heartbeatMs = 200

interface MembershipState extends MemberState {
  current: Membership | null
  heartbeat: Heartbeat | null
  isJoining: boolean
}

export function createMembership(connections: Connections, options: WorkerOptions): GroupMembership {
  const state: MembershipState = {
    connections,
    options,
    memberId: '',
    round: 0,
    previousTasks: [],
    previousGeneration: -1,
    current: null,
    heartbeat: null,
    isJoining: false,
  }
  return {
    join: () => join(state),
    isCurrent: (membership) => isLatest(state, membership) && state.heartbeat?.isCurrent() === true,
    isHeld: (membership) => isLatest(state, membership) && state.heartbeat?.isMember() === true,
    isSuperseded: () => isSuperseded(state),
    leave: () => leave(state),
    stop: () => state.heartbeat?.stop(),
  }
}

async function join(state: MembershipState): Promise<Membership> {
  const { connections, options } = state
  assert(!state.isJoining, 'join is called once at a time')
  state.isJoining = true
  state.heartbeat?.stop()
  state.current = null
  try {
    const { membership, memberNames } = await joinAndSync(state)
    state.current = membership
    state.previousTasks = membership.tasks
    state.previousGeneration = membership.generation
    state.heartbeat = startHeartbeat(state, membership)
    if (memberNames !== null)
      await endAbandoned(connections, options.group, new Set(memberNames), options.transactionTimeoutMs)
    return membership
  } finally {
    state.isJoining = false
  }
}

function startHeartbeat(state: MembershipState, { generation }: Membership): Heartbeat {
  const { connections, options } = state
  const { group, sessionTimeoutMs } = options
  return createHeartbeat({
    intervalMs: Math.min(heartbeatMs, sessionTimeoutMs / 5),
    sessionTimeoutMs,
    async beat() {
      const nodeId = await connections.coordinator('group', group)
      return await connections.send(nodeId, heartbeatRequest(groupMember(state), generation))
    },
    lostCoordinator: () => connections.forgetCoordinator('group', group),
  })
}

async function isSuperseded(state: MembershipState): Promise<boolean> {
  const retryBudget = createRetryBudget(supersededWithinMs, 50)
  do {
    const error = await askCoordinator(state.connections, {
      kind: 'group',
      key: state.options.group,
      request: heartbeatRequest(groupMember(state), state.previousGeneration),
      errorOf: (answer) => answer,
      retryBudget,
    })
    if (error === 'FENCED_INSTANCE_ID') return true
  } while (await retryBudget.again())
  return false
}

async function leave(state: MembershipState): Promise<void> {
  state.heartbeat?.stop()
  state.current = null
  if (state.memberId === '') return
  const error = await askCoordinator(state.connections, {
    kind: 'group',
    key: state.options.group,
    // With its member id: a process that has taken over the name has another one, and stays.
    request: leaveGroupRequest(groupMember(state)),
    errorOf: (answer) => answer,
    retryBudget: createRetryBudget(leaveWithinMs),
  })
  if (error === 'NONE' || error === 'UNKNOWN_MEMBER_ID' || error === 'FENCED_INSTANCE_ID') return
  throw coordinatorError(state.options, 'the leave', error)
}

function isLatest({ current }: MembershipState, { generation, memberId }: Membership): boolean {
  return current !== null && current.generation === generation && current.memberId === memberId
}
