/** The largest flow through a small directed network and, among those, one of least cost; called by `task-assignment.ts`. */

export interface FlowEdge {
  readonly from: number
  readonly to: number
  readonly capacity: number
  /** Per unit; may be negative, as long as no circle of edges has a negative sum. */
  readonly cost: number
}

/**
 * Nodes are 0 to `nodes - 1`. Sends one cheapest path after the other (Bellman-Ford over what capacity is left), which keeps every
 * intermediate flow the cheapest of its size. Deterministic. `along[i]` is the flow on edge i.
 */
export function cheapestFlow(
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
