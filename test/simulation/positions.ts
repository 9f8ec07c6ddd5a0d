/** Watches the positions of a run as they are committed and applied: none decreases, and the store is never ahead of Kafka. */
import { decodePosition, isAhead, type TaskPosition } from '../../processors/position.ts'
import { stageInputs } from '../../processors/stage-inputs.ts'
import type { OffsetToCommit } from '../../runtime/broker.ts'
import { compareCanonical } from '../../schemas/kernel/canonical-order.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { Observer } from '../../testing/index.ts'

export function watchPositions(
  plan: Plan,
  violated: (what: string) => void,
): Required<Pick<Observer, 'committed' | 'applied'>> {
  /** By the first input of the task. */
  const committed = new Map<string, TaskPosition>()
  const firstInputs = new Map(plan.stages.map((stage) => [stage.entity.name, stageInputs(plan, stage)[0]!.topic]))

  function hasGoneBack(to: TaskPosition, from: TaskPosition): boolean {
    return (
      compareCanonical(to.frontier, from.frontier) < 0 ||
      to.retentionWatermark < from.retentionWatermark ||
      to.inputs.some(
        ({ resumeOffset, nextOffset }, i) =>
          nextOffset < from.inputs[i]!.nextOffset || resumeOffset < from.inputs[i]!.resumeOffset,
      )
    )
  }

  return {
    committed(offsets: readonly OffsetToCommit[]) {
      for (const { topic, partition, metadata } of offsets) {
        const name = `${topic} ${partition}`
        const to = decodePosition(metadata, name)
        const from = committed.get(name)
        if (from && hasGoneBack(to, from)) violated(`committed position of ${name} goes back to ${metadata}`)
        committed.set(name, to)
      }
    },
    applied(entity, partition, step) {
      const name = `${entity} ${partition}`
      const to = decodePosition(step.to, name)
      if (step.from !== null && hasGoneBack(to, decodePosition(step.from, name)))
        violated(`stored position of ${name} goes back from ${step.from} to ${step.to}`)
      const reached = committed.get(`${firstInputs.get(entity)} ${partition}`)
      if (!reached || isAhead(to, reached)) violated(`store of ${name} is ahead of Kafka: ${step.to}`)
    },
  }
}
