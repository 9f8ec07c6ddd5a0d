/** The tasks of a worker and its champion come in, what they mean for the readiness of its process goes out. Called by `http.ts`. */
import type { RunningWorker } from '../../processors/run-worker.ts'
import { listOf, type Readiness, type Reason } from '../../runtime/http/health-routes.ts'
import { shown } from '../terminal.ts'

type State = ReturnType<RunningWorker['state']>
type Tasks = State['tasks']

export interface ReadyResponse {
  readonly status: 'ready'
  readonly tasks: ReadonlyArray<{ readonly stage: string; readonly partition: number }>
}

/** Early releases and overtaken predictions are told for so long after the last of them. */
const degradedForMs = 15 * 60_000

/** `misfit`: why the champion scores nothing; null where it does, or where there is none. */
export function taskReadiness(
  worker: Pick<RunningWorker, 'state'>,
  misfit: () => string | null,
  nowMs: () => number,
): Readiness {
  return {
    schemas: { tasks: listOf({ stage: { type: 'string' }, partition: { type: 'integer' } }) },
    state() {
      const { tasks, early, overtaken } = worker.state()
      const unscored = misfit()
      const listed = tasks.map(({ stage, partition }) => ({ stage: stage.entity.name, partition }))
      return {
        reasons: tasksNotReady(tasks),
        degraded: [
          ...orderReasons(early, overtaken, nowMs() - degradedForMs),
          ...(unscored === null ? [] : [{ part: 'model', reason: unscored }]),
        ],
        details: { tasks: listed } satisfies Omit<ReadyResponse, 'status'>,
      }
    },
  }
}

function orderReasons(early: State['early'], overtaken: State['overtaken'], sinceMs: number): Reason[] {
  const reasons: string[] = []
  if (early !== null && early.lastMs > sinceMs)
    reasons.push(`${early.count} released early; the last: ${early.sentence}`)
  if (overtaken !== null && overtaken.lastMs > sinceMs) {
    const { predictions, isShort, sentence } = overtaken
    reasons.push(
      `${isShort ? 'at least ' : ''}${shown(predictions)} prediction${predictions === 1 ? ' was' : 's were'} made before facts of their ` +
        `windows arrived; the last: ${sentence} millrace recompute computes them again`,
    )
  }
  return reasons.map((reason) => ({ part: 'order', reason }))
}

function tasksNotReady(tasks: Tasks): Reason[] {
  if (tasks.length === 0) return [{ part: 'tasks', reason: 'no task is open yet' }]
  const restoring = tasks.filter(({ isRestoring }) => isRestoring)
  if (restoring.length === 0) return []
  const named = restoring.map(({ stage, partition }) => `${stage.entity.name} ${partition}`).join(', ')
  return [{ part: 'tasks', reason: `folding again what the store lacks: ${named}` }]
}
