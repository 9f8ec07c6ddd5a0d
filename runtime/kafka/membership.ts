/**
 * A worker's place in the consumer group: joins, keeps the heartbeat going, and knows when the place is lost. Made by
 * `worker.ts`.
 */
import assert from 'node:assert/strict'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Membership, Task, WorkerOptions } from '../broker.ts'
import type { Connections } from './connections.ts'
import { askCoordinator } from './coordinator-calls.ts'
import { failureCode, type KafkaError, namingRight } from './error-codes.ts'
import { assignAll, decodeAssignment, encodeSubscription, protocolName } from './group-protocol.ts'
import {
  type GroupMember,
  heartbeatRequest,
  type Joined,
  joinGroupRequest,
  leaveGroupRequest,
  syncGroupRequest,
} from './group-requests.ts'
import { createHeartbeat, type Heartbeat } from './heartbeat.ts'
import { superseded } from './refusal.ts'
import { createRetryBudget, type RetryBudget } from './retry-budget.ts'
import { endAbandoned } from './transactional-ids.ts'

export interface GroupMembership {
  join(): Promise<Membership>
  isCurrent(membership: Membership): boolean
  /** Whether this is the membership that was joined last and the coordinator, as far as is known, has not ended it. */
  isHeld(membership: Membership): boolean
  /**
   * Asks the group whether another process has joined under this worker's name. One that takes over fences the producer a moment before
   * it joins, so the question is asked again for a while.
   */
  isSuperseded(): Promise<boolean>
  /** See `Worker.leave`. */
  leave(): Promise<void>
  /** Stops the heartbeat; the coordinator keeps the place until the session times out. */
  stop(): void
}

/** Between fencing the producer of a name and joining under it a process does nothing else, ms. */
const supersededWithinMs = 1_500

/** Leaving is a favour to the others: a group that cannot be reached must not hold up an end for long, ms. */
const leaveWithinMs = 1_000
/** How soon a member hears that the group assigns anew, ms; the others wait for the last one. */
const heartbeatMs = 200

/** How long the group waits for a member that has to finish a batch before it joins again, ms. */
function rebalanceTimeoutMs({ sessionTimeoutMs, transactionTimeoutMs }: WorkerOptions): number {
  return Math.max(sessionTimeoutMs, transactionTimeoutMs)
}

export function createMembership(connections: Connections, options: WorkerOptions): GroupMembership {
  const { group, worker, stages, sessionTimeoutMs } = options
  const rebalanceMs = rebalanceTimeoutMs(options)
  let memberId = ''
  let round = 0
  let previous: readonly Task[] = []
  let previousGeneration = -1
  let current: Membership | null = null
  let heartbeat: Heartbeat | null = null
  let joining = false

  const self = (): GroupMember => ({ group, instanceId: worker, memberId })

  function refused(step: string, error: KafkaError): PipelineError {
    return new PipelineError(
      failureCode(error),
      `The coordinator of group ${group} refused ${step} of "${worker}": ${namingRight(error, 'Read')}`,
      {
        details: { group, worker, error },
      },
    )
  }

  /** Learns from the refusal and pauses before the next try. Throws what no further try mends. */
  async function onceMore(step: string, error: KafkaError, retryBudget: RetryBudget): Promise<void> {
    if (error === 'FENCED_INSTANCE_ID') throw superseded(options)
    if (error === 'UNKNOWN_MEMBER_ID') memberId = ''
    else if (error !== 'REBALANCE_IN_PROGRESS' && error !== 'ILLEGAL_GENERATION') throw refused(step, error)
    if (!(await retryBudget.again())) {
      throw new PipelineError(
        'rebalance',
        `Group ${group} did not become stable for "${worker}" in ${Math.round(retryBudget.totalMs / 1000)} s: ${error}`,
        { details: { group, worker, error } },
      )
    }
  }

  async function joinGroup(retryBudget: RetryBudget): Promise<Joined | KafkaError> {
    const subscription = encodeSubscription(stages, { previous, generation: previousGeneration, round })
    const timeouts = { sessionTimeoutMs, rebalanceTimeoutMs: rebalanceMs }
    const joined = await askCoordinator(connections, {
      kind: 'group',
      key: group,
      request: joinGroupRequest(self(), timeouts, { name: protocolName, subscription }),
      errorOf: ({ error }) => error,
      retryBudget,
    })
    if (joined.error === 'MEMBER_ID_REQUIRED') {
      memberId = joined.memberId
      return 'REBALANCE_IN_PROGRESS'
    }
    if (joined.error !== 'NONE') return joined.error
    memberId = joined.memberId
    return joined
  }

  /** Also the names of all members, where this one has led an assignment. */
  async function dance(): Promise<{ membership: Membership; led: readonly string[] | null }> {
    const retryBudget = createRetryBudget(3 * rebalanceMs + connections.retryBudgetMs)
    let asked = false
    for (;;) {
      const joined = await joinGroup(retryBudget)
      if (typeof joined === 'string') {
        await onceMore('the join', joined, retryBudget)
        continue
      }
      const leads = joined.leaderId === joined.memberId
      const synced = await askCoordinator(connections, {
        kind: 'group',
        key: group,
        request: syncGroupRequest(
          self(),
          joined.generation,
          leads ? assignAll(joined.members, stages) : [],
          rebalanceMs,
        ),
        errorOf: ({ error }) => error,
        retryBudget,
      })
      if (synced.error !== 'NONE') {
        await onceMore('the sync', synced.error, retryBudget)
        continue
      }
      const assignment = decodeAssignment(synced.assignment)
      const known = new Map(assignment.stages.map(({ stage, partitions }) => [stage, partitions]))
      // A restart under a static name gets its former assignment back, made for the stages of that time: ask for a
      // new one, once.
      if (!asked && stages.some(({ stage, partitions }) => known.get(stage) !== partitions)) {
        asked = true
        round++
        continue
      }
      const mine = assignment.tasks.filter(({ stage }) => stages.some((listed) => listed.stage === stage))
      const { generation, members } = joined
      const led = leads ? members.map(({ memberId: id, instanceId }) => instanceId ?? id) : null
      return { membership: Object.freeze({ generation, memberId: joined.memberId, tasks: Object.freeze(mine) }), led }
    }
  }

  function startHeartbeat(membership: Membership): Heartbeat {
    return createHeartbeat({
      intervalMs: Math.min(heartbeatMs, sessionTimeoutMs / 5),
      sessionTimeoutMs,
      async beat() {
        const nodeId = await connections.coordinator('group', group)
        return await connections.send(nodeId, heartbeatRequest(self(), membership.generation))
      },
      lostCoordinator: () => connections.forgetCoordinator('group', group),
    })
  }

  async function isSuperseded(): Promise<boolean> {
    const retryBudget = createRetryBudget(supersededWithinMs, 50)
    do {
      const error = await askCoordinator(connections, {
        kind: 'group',
        key: group,
        request: heartbeatRequest(self(), previousGeneration),
        errorOf: (answer) => answer,
        retryBudget,
      })
      if (error === 'FENCED_INSTANCE_ID') return true
    } while (await retryBudget.again())
    return false
  }

  async function leave(): Promise<void> {
    heartbeat?.stop()
    current = null
    if (memberId === '') return
    const error = await askCoordinator(connections, {
      kind: 'group',
      key: group,
      // With its id: a process that has taken the name over has another one, and stays.
      request: leaveGroupRequest(self()),
      errorOf: (answer) => answer,
      retryBudget: createRetryBudget(leaveWithinMs),
    })
    if (error === 'NONE' || error === 'UNKNOWN_MEMBER_ID' || error === 'FENCED_INSTANCE_ID') return
    throw refused('the leave', error)
  }

  function isLatest({ generation, memberId: id }: Membership): boolean {
    return current !== null && current.generation === generation && current.memberId === id
  }

  return {
    async join() {
      assert(!joining, 'join is called once at a time')
      joining = true
      heartbeat?.stop()
      current = null
      try {
        const { membership, led } = await dance()
        current = membership
        previous = membership.tasks
        previousGeneration = membership.generation
        heartbeat = startHeartbeat(membership)
        if (led !== null) await endAbandoned(connections, group, new Set(led), options.transactionTimeoutMs)
        return membership
      } finally {
        joining = false
      }
    },
    isCurrent: (membership) => isLatest(membership) && heartbeat?.isCurrent() === true,
    isHeld: (membership) => isLatest(membership) && heartbeat?.isMember() === true,
    isSuperseded,
    leave,
    stop: () => heartbeat?.stop(),
  }
}
