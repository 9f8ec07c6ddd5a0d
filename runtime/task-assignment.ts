/**
 * The assignment of tasks: the stages of a pipeline and the group's members with their former tasks come in, each
 * member's tasks go out. Pure and deterministic; called by the leader of the consumer group.
 */
import assert from 'node:assert/strict'
import type { Task } from './broker.ts'

export interface AssignmentMember {
  /** Stable name, unique in the group. */
  readonly name: string
  /** The tasks it had in `generation`; none for a new member. */
  readonly previous: readonly Task[]
  /** Where two members list a task, the one with the later generation owned it last. */
  readonly generation: number
}

export interface AssignableStage {
  readonly stage: string
  readonly partitions: number
}

/**
 * Every task is assigned to exactly one member. The numbers of tasks of any two members differ by at most one, over all
 * stages and within each stage, and no such assignment moves fewer tasks. The
 * order of the arguments does not matter.
 */
export function assignTasks(
  stages: readonly AssignableStage[],
  members: readonly AssignmentMember[],
): Map<string, Task[]> {
  assert(members.length > 0, 'a group has at least one member')
  const ordered = [...members].sort((a, b) => compare(a.name, b.name))
  const listed = [...stages].sort((a, b) => compare(a.stage, b.stage))
  const kept = formerOwners(listed, ordered)
  const extras = assignExtras(listed, ordered, kept)
  const assigned = new Map<string, Task[]>(ordered.map(({ name }) => [name, []]))

  listed.forEach(({ stage, partitions }, stageAt) => {
    const quotas = ordered.map((_, at) => Math.floor(partitions / ordered.length) + (extras[at]!.has(stageAt) ? 1 : 0))
    const free: number[] = []
    for (let partition = 0; partition < partitions; partition++) {
      const owner = kept[stageAt]!.get(partition)
      if (owner !== undefined && quotas[owner]! > 0) {
        quotas[owner]!--
        assigned.get(ordered[owner]!.name)!.push({ stage, partition })
      } else free.push(partition)
    }
    let member = 0
    for (const partition of free) {
      while (quotas[member] === 0) member++
      quotas[member]!--
      assigned.get(ordered[member]!.name)!.push({ stage, partition })
    }
  })
  for (const tasks of assigned.values()) {
    tasks.sort((a, b) => compare(a.stage, b.stage) || a.partition - b.partition)
  }
  return assigned
}

/** For each stage, the index of the member that owned the partition last. */
function formerOwners(
  stages: readonly AssignableStage[],
  members: readonly AssignmentMember[],
): Array<Map<number, number>> {
  return stages.map(({ stage, partitions }) => {
    const owners = new Map<number, number>()
    members.forEach(({ previous, generation }, at) => {
      for (const task of previous) {
        if (task.stage !== stage || task.partition >= partitions) continue
        const other = owners.get(task.partition)
        if (other === undefined || members[other]!.generation < generation) owners.set(task.partition, at)
      }
    })
    return owners
  })
}

/**
 * Every member gets the rounded-down quota of each stage. The tasks left over of each stage are distributed so that no
 * member gets more than one of a stage nor, over all stages, more than one more than another, and preferably to members
 * that had one more before: a minimum-cost flow from stages to members. Returns, by member, the stages of which it gets
 * one more.
 */
function assignExtras(
  stages: readonly AssignableStage[],
  members: readonly AssignmentMember[],
  kept: ReadonlyArray<ReadonlyMap<number, number>>,
): Array<Set<number>> {
  const leftOver = stages.map(({ partitions }) => partitions % members.length)
  const total = leftOver.reduce((sum, count) => sum + count, 0)
  const surely = Math.floor(total / members.length)
  const source = 0
  const sink = 1 + stages.length + members.length
  const stageNode = (at: number) => 1 + at
  const memberNode = (at: number) => 1 + stages.length + at

  const edges: FlowEdge[] = []
  for (const at of stages.keys()) edges.push({ from: source, to: stageNode(at), capacity: leftOver[at]!, cost: 0 })
  const firstChoice = edges.length
  stages.forEach(({ partitions }, stageAt) => {
    const share = Math.floor(partitions / members.length)
    members.forEach((_, memberAt) => {
      let had = 0
      for (const owner of kept[stageAt]!.values()) if (owner === memberAt) had++
      edges.push({ from: stageNode(stageAt), to: memberNode(memberAt), capacity: 1, cost: had > share ? -1 : 0 })
    })
  })
  // Filling everybody up to the sure number is worth more than all moves together.
  const sureWorth = -(total + 1)
  members.forEach((_, at) => {
    edges.push({ from: memberNode(at), to: sink, capacity: surely, cost: sureWorth })
    edges.push({ from: memberNode(at), to: sink, capacity: 1, cost: 0 })
  })

  const flow = cheapestFlow(sink + 1, edges, source, sink)
  assert(flow.total === total, 'every task left over is assigned')
  return members.map(
    (_, memberAt) =>
      new Set(
        stages.flatMap((_, stageAt) =>
          flow.along[firstChoice + stageAt * members.length + memberAt]! > 0 ? [stageAt] : [],
        ),
      ),
  )
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

interface FlowEdge {
  readonly from: number
  readonly to: number
  readonly capacity: number
  /** Per unit; may be negative, as long as no circle of edges has a negative sum. */
  readonly cost: number
}

/**
 * The largest flow through a small directed network and, among those, one of least cost. Nodes are 0 to `nodes - 1`.
 * Sends one cheapest path after the other (Bellman-Ford over what capacity is left), which keeps every intermediate
 * flow the cheapest of its size. Deterministic. `along[i]` is the flow on edge i.
 */
function cheapestFlow(
  nodes: number,
  edges: readonly FlowEdge[],
  source: number,
  sink: number,
): { total: number; along: number[] } {
  const along = edges.map(() => 0)
  let total = 0
  for (;;) {
    const path = cheapestPath(nodes, edges, along, source, sink)
    if (path === null) return { total, along }
    // Edges are walked forwards, or backwards to take back flow.
    const units = path.reduce(
      (least, { edge, forwards }) => Math.min(least, forwards ? edges[edge]!.capacity - along[edge]! : along[edge]!),
      Number.POSITIVE_INFINITY,
    )
    for (const { edge, forwards } of path) along[edge]! += forwards ? units : -units
    total += units
  }
}

interface Step {
  readonly edge: number
  readonly forwards: boolean
}

function cheapestPath(
  nodes: number,
  edges: readonly FlowEdge[],
  along: readonly number[],
  source: number,
  sink: number,
): Step[] | null {
  const costs = new Array<number>(nodes).fill(Number.POSITIVE_INFINITY)
  const arrivedBy = new Array<Step | null>(nodes).fill(null)
  costs[source] = 0
  for (let round = 1, changed = true; changed && round < nodes; round++) {
    changed = false
    edges.forEach(({ from, to, capacity, cost }, edge) => {
      if (along[edge]! < capacity && costs[from]! + cost < costs[to]!) {
        costs[to] = costs[from]! + cost
        arrivedBy[to] = { edge, forwards: true }
        changed = true
      }
      if (along[edge]! > 0 && costs[to]! - cost < costs[from]!) {
        costs[from] = costs[to]! - cost
        arrivedBy[from] = { edge, forwards: false }
        changed = true
      }
    })
  }
  if (costs[sink] === Number.POSITIVE_INFINITY) return null
  const path: Step[] = []
  for (let node = sink; node !== source; ) {
    const step = arrivedBy[node]!
    path.push(step)
    node = step.forwards ? edges[step.edge]!.from : edges[step.edge]!.to
  }
  return path.reverse()
}
