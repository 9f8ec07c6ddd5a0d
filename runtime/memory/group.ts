/**
 * A consumer group of the memory broker with static members: who is in it, which generation it has reached and who owns which task. A
 * known name comes back to its tasks without disturbing the others; a new name, or one that stayed silent for too long, makes everybody
 * join again.
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
  /** How long the group waits for this member when it assigns anew. */
  readonly rebalanceTimeoutMs: number
}

export interface Group {
  /** Asks for a seat; `seat` says when it is there. */
  enter(request: JoinRequest): void
  /** Null while the group waits for others. */
  seat(name: string, memberId: string): Membership | null
  isCurrent(name: string, membership: Membership): boolean
  view(): GroupView
  /** Why a commit of this membership is refused. */
  refusal(name: string, membership: Membership): 'fenced' | 'rebalance' | null
  /** The name is in the group under another member id. */
  isTaken(name: string, memberId: string): boolean
  /** Takes the name out, at once: only its own member id may, or null for whoever has it. */
  leave(name: string, memberId: string | null): void
  names(): ReadonlySet<string>
  /** The member sends no heartbeats any more: it is expelled after its session timeout. */
  silence(name: string, memberId: string): void
  /** It sends heartbeats again, where it is still in the group. */
  hear(name: string, memberId: string): void
  /** Expels who was silent for too long and assigns where everybody has come; true where something changed. */
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

export function createGroup(elapsedMs: () => number): Group {
  const members = new Map<string, Member>()
  let generation = 0
  /** As the last one to enter sees them. */
  let stages: readonly StageTopics[] = []
  /** Until when those who have not joined again are waited for; null while the group is stable. */
  let assignAtMs: number | null = null

  function enter(request: JoinRequest): void {
    const { name, memberId, previous, sessionTimeoutMs, rebalanceTimeoutMs } = request
    const known = members.get(name)
    const isSettled = known && assignAtMs === null && hasSameStages(known.stages, request.stages)
    stages = request.stages
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
    if (!isSettled && assignAtMs === null) assignAnew()
    members.set(name, member)
    settle()
  }

  function assignAnew(): void {
    let waitMs = 0
    for (const member of members.values()) {
      member.hasJoined = false
      waitMs = Math.max(waitMs, member.rebalanceTimeoutMs)
    }
    assignAtMs = elapsedMs() + waitMs
  }

  function settle(): boolean {
    const nowMs = elapsedMs()
    let hasChanged = expel((member) => member.expiresAtMs <= nowMs)
    if (hasChanged && assignAtMs === null) assignAnew()
    if (assignAtMs !== null && assignAtMs <= nowMs) hasChanged = expel((member) => !member.hasJoined) || hasChanged
    if (members.size === 0) assignAtMs = null
    const haveAllJoined = [...members.values()].every((member) => member.hasJoined)
    if (assignAtMs === null || !haveAllJoined) return hasChanged
    assign()
    return true
  }

  function expel(isGone: (member: Member) => boolean): boolean {
    const gone = [...members.values()].filter(isGone)
    for (const { name } of gone) members.delete(name)
    return gone.length > 0
  }

  function assign(): void {
    assignAtMs = null
    generation++
    const assigned = assignTasks(
      stages,
      [...members.values()].map((member) => ({
        name: member.name,
        previous: member.tasks,
        generation: member.generation,
      })),
    )
    for (const member of members.values()) {
      member.tasks = Object.freeze(assigned.get(member.name)!)
      member.generation = generation
    }
  }

  function seat(name: string, memberId: string): Membership | null {
    const member = members.get(name)
    if (assignAtMs !== null || member?.memberId !== memberId) return null
    return Object.freeze({ generation, memberId, tasks: member.tasks })
  }

  function refusal(name: string, membership: Membership): 'fenced' | 'rebalance' | null {
    const member = members.get(name)
    if (!member) return 'rebalance'
    if (member.memberId !== membership.memberId) return 'fenced'
    return membership.generation === generation ? null : 'rebalance'
  }

  function isTaken(name: string, memberId: string): boolean {
    const member = members.get(name)
    return member !== undefined && member.memberId !== memberId
  }

  function leave(name: string, memberId: string | null): void {
    const member = members.get(name)
    if (!member || (memberId !== null && member.memberId !== memberId)) return
    members.delete(name)
    if (assignAtMs === null) assignAnew()
    settle()
  }

  function silence(name: string, memberId: string): void {
    const member = members.get(name)
    if (member?.memberId === memberId) member.expiresAtMs = elapsedMs() + member.sessionTimeoutMs
  }

  function hear(name: string, memberId: string): void {
    const member = members.get(name)
    if (member?.memberId === memberId) member.expiresAtMs = Number.POSITIVE_INFINITY
  }

  return {
    enter,
    seat,
    isCurrent: (name, membership) => assignAtMs === null && refusal(name, membership) === null,
    view: () => ({
      state: members.size === 0 ? 'empty' : assignAtMs === null ? 'stable' : 'assigning',
      members: [...members.values()].map(({ name, tasks }) => ({
        worker: name,
        host: 'memory',
        tasks: assignAtMs === null ? tasks : [],
      })),
    }),
    refusal,
    isTaken,
    leave,
    names: () => new Set(members.keys()),
    silence,
    hear,
    settle,
    nextExpiryMs: () =>
      Math.min(assignAtMs ?? Number.POSITIVE_INFINITY, ...[...members.values()].map(({ expiresAtMs }) => expiresAtMs)),
  }
}

function hasSameStages(a: readonly StageTopics[], b: readonly StageTopics[]): boolean {
  const shape = (stages: readonly StageTopics[]) =>
    stages.map(({ stage, topics, partitions }) => [stage, topics, partitions])
  return JSON.stringify(shape(a)) === JSON.stringify(shape(b))
}
