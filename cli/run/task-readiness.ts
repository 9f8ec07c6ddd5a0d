/** The tasks of a worker and its champion come in, what they mean for the readiness of its process goes out. Called by `http.ts`. */
import type { RunningWorker } from '../../processors/run-worker.ts'
import { listOf, type Readiness, type Reason } from '../../runtime/http/health-routes.ts'

type Tasks = ReturnType<RunningWorker['state']>['tasks']

export interface ReadyResponse {
  readonly status: 'ready'
  readonly tasks: ReadonlyArray<{ readonly stage: string; readonly partition: number }>
}

/** Early releases are told for so long after the last of them. */
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
      const { tasks, early } = worker.state()
      const unscored = misfit()
      const isDegraded = early !== null && nowMs() - early.lastMs < degradedForMs
      const listed = tasks.map(({ stage, partition }) => ({ stage: stage.entity.name, partition }))
      return {
        reasons: tasksNotReady(tasks),
        degraded: [
          ...(isDegraded
            ? [{ part: 'order', reason: `${early.events} released early; the last: ${early.sentence}` }]
            : []),
          ...(unscored === null ? [] : [{ part: 'model', reason: unscored }]),
        ],
        details: { tasks: listed } satisfies Omit<ReadyResponse, 'status'>,
      }
    },
  }
}

function tasksNotReady(tasks: Tasks): Reason[] {
  if (tasks.length === 0) return [{ part: 'tasks', reason: 'no task is open yet' }]
  const restoring = tasks.filter(({ isRestoring }) => isRestoring)
  if (restoring.length === 0) return []
  const named = restoring.map(({ stage, partition }) => `${stage.entity.name} ${partition}`).join(', ')
  return [{ part: 'tasks', reason: `folding again what the store lacks: ${named}` }]
}
