/**
 * A consumer group of the memory broker with static members: its members, its generation and the tasks of each member. A known name
 * returns to its tasks without a rebalance; a new name, or a member whose session times out, starts a rebalance. Used by `worker.ts`.
 */
import type { GroupView, Membership, StageTopics, Task } from '../broker.ts'
import { assignTasks } from '../task-assignment.ts'

export interface JoinRequest {
  readonly name: string
  readonly memberId: string
  readonly stages: readonly StageTopics[]
  /** The membership that the member had before, so that it keeps its tasks where it can. */
  readonly previous: Membership | null
  readonly sessionTimeoutMs: number
  /** How long the group waits for this member in a rebalance. */
  readonly rebalanceTimeoutMs: number
}

export interface Group {
  /** Joins or joins again; `membershipOf` has the result once the group is stable. */
  enter(request: JoinRequest): void
  /** Null while the group waits for others. */
  membershipOf(name: string, memberId: string): Membership | null
  isCurrent(name: string, membership: Membership): boolean
  view(): GroupView
  /** Why a commit of this membership is rejected; null where it is accepted. */
  commitError(name: string, membership: Membership): 'fenced' | 'rebalance' | null
  /** The name is in the group under another member id. */
  isTaken(name: string, memberId: string): boolean
  /** Removes the name at once, if it has this member id, or with any id where null is given. */
  leave(name: string, memberId: string | null): void
  names(): ReadonlySet<string>
  /** The member sends no heartbeats any more: it is expelled after its session timeout. */
  stopHeartbeats(name: string, memberId: string): void
  /** The member sends heartbeats again, if it is still in the group. */
  resumeHeartbeats(name: string, memberId: string): void
  /** Expels members whose session timed out and assigns the tasks once all others have joined; true where something changed. */
  settle(): boolean
  nextExpiryMs(): number
}

interface Member {
  readonly name: string
  memberId: string
  stages: readonly StageTopics[]
  sessionTimeoutMs: number
  rebalanceTimeoutMs: number
  tasks: readonly Task[]
  generation: number
  hasJoined: boolean
  /** Infinity while it sends heartbeats. */
  expiresAtMs: number
}

interface GroupState {
  readonly members: Map<string, Member>
  readonly elapsedMs: () => number
  generation: number
  /** Of the latest join request. */
  stages: readonly StageTopics[]
  /** When a rebalance stops waiting for members that have not joined again; null while the group is stable. */
  assignAtMs: number | null
}

export function createGroup(elapsedMs: () => number): Group {
  const group: GroupState = { members: new Map(), elapsedMs, generation: 0, stages: [], assignAtMs: null }
  const { members } = group
  return {
    enter: (request) => enter(group, request),
    membershipOf: (name, memberId) => membershipOf(group, name, memberId),
    isCurrent: (name, membership) => group.assignAtMs === null && commitError(group, name, membership) === null,
    view: () => view(group),
    commitError: (name, membership) => commitError(group, name, membership),
    isTaken(name, memberId) {
      const member = members.get(name)
      return member !== undefined && member.memberId !== memberId
    },
    leave: (name, memberId) => leave(group, name, memberId),
    names: () => new Set(members.keys()),
    stopHeartbeats(name, memberId) {
      const member = members.get(name)
      if (member?.memberId === memberId) member.expiresAtMs = elapsedMs() + member.sessionTimeoutMs
    },
    resumeHeartbeats(name, memberId) {
      const member = members.get(name)
      if (member?.memberId === memberId) member.expiresAtMs = Number.POSITIVE_INFINITY
    },
    settle: () => settle(group),
    nextExpiryMs: () => nextExpiryMs(group),
  }
}

function enter(group: GroupState, request: JoinRequest): void {
  const { name, memberId, stages, previous, sessionTimeoutMs, rebalanceTimeoutMs } = request
  const known = group.members.get(name)
  const isSettled = known && group.assignAtMs === null && hasSameStages(known.stages, stages)
  group.stages = stages
  const member: Member = {
    name,
    memberId,
    stages,
    sessionTimeoutMs,
    rebalanceTimeoutMs,
    tasks: known?.tasks ?? previous?.tasks ?? [],
    generation: known?.generation ?? previous?.generation ?? -1,
    hasJoined: true,
    expiresAtMs: Number.POSITIVE_INFINITY,
  }
  if (!isSettled && group.assignAtMs === null) startRebalance(group)
  group.members.set(name, member)
  settle(group)
}

function startRebalance(group: GroupState): void {
  let waitMs = 0
  for (const member of group.members.values()) {
    member.hasJoined = false
    waitMs = Math.max(waitMs, member.rebalanceTimeoutMs)
  }
  group.assignAtMs = group.elapsedMs() + waitMs
}

function settle(group: GroupState): boolean {
  const nowMs = group.elapsedMs()
  let hasChanged = expel(group, (member) => member.expiresAtMs <= nowMs)
  if (hasChanged && group.assignAtMs === null) startRebalance(group)
  if (group.assignAtMs !== null && group.assignAtMs <= nowMs)
    hasChanged = expel(group, (member) => !member.hasJoined) || hasChanged
  if (group.members.size === 0) group.assignAtMs = null
  const haveAllJoined = [...group.members.values()].every((member) => member.hasJoined)
  if (group.assignAtMs === null || !haveAllJoined) return hasChanged
  assign(group)
  return true
}

function expel({ members }: GroupState, isGone: (member: Member) => boolean): boolean {
  const gone = [...members.values()].filter(isGone)
  for (const { name } of gone) members.delete(name)
  return gone.length > 0
}

function assign(group: GroupState): void {
  group.assignAtMs = null
  group.generation++
  const members = [...group.members.values()]
  const assigned = assignTasks(
    group.stages,
    members.map(({ name, tasks, generation }) => ({ name, previous: tasks, generation })),
  )
  for (const member of members) {
    member.tasks = Object.freeze(assigned.get(member.name)!)
    member.generation = group.generation
  }
}

function membershipOf(group: GroupState, name: string, memberId: string): Membership | null {
  const member = group.members.get(name)
  if (group.assignAtMs !== null || member?.memberId !== memberId) return null
  return Object.freeze({ generation: group.generation, memberId, tasks: member.tasks })
}

function commitError(group: GroupState, name: string, membership: Membership): 'fenced' | 'rebalance' | null {
  const member = group.members.get(name)
  if (!member) return 'rebalance'
  if (member.memberId !== membership.memberId) return 'fenced'
  return membership.generation === group.generation ? null : 'rebalance'
}

function leave(group: GroupState, name: string, memberId: string | null): void {
  const member = group.members.get(name)
  if (!member || (memberId !== null && member.memberId !== memberId)) return
  group.members.delete(name)
  if (group.assignAtMs === null) startRebalance(group)
  settle(group)
}

function view({ members, assignAtMs }: GroupState): GroupView {
  return {
    state: members.size === 0 ? 'empty' : assignAtMs === null ? 'stable' : 'assigning',
    members: [...members.values()].map(({ name, tasks }) => ({
      worker: name,
      host: 'memory',
      tasks: assignAtMs === null ? tasks : [],
    })),
  }
}

function nextExpiryMs({ members, assignAtMs }: GroupState): number {
  const sessionEnds = [...members.values()].map(({ expiresAtMs }) => expiresAtMs)
  return Math.min(assignAtMs ?? Number.POSITIVE_INFINITY, ...sessionEnds)
}

function hasSameStages(a: readonly StageTopics[], b: readonly StageTopics[]): boolean {
  const shape = (stages: readonly StageTopics[]) =>
    stages.map(({ stage, topics, partitions }) => [stage, topics, partitions])
  return JSON.stringify(shape(a)) === JSON.stringify(shape(b))
}
