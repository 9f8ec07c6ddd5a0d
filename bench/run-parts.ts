/** Runs what opens parts and closes them in reverse, also after a failure. Called by every job and by `run-bench.ts`. */
import type { Shutdown } from '../cli/shutdown.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'

const closeMaxMs = 30_000

/** Rejects with the first failure: of the work, else of the closing. */
export async function closeAll<T>(shutdown: Shutdown, work: (shutdown: Shutdown) => Promise<T>): Promise<T> {
  const worked = await work(shutdown).then(
    (value) => ({ ok: true, value }) as const,
    (error: unknown) => ({ ok: false, error }) as const,
  )
  const { failures, late } = await shutdown.close(closeMaxMs)
  if (!worked.ok) throw worked.error
  if (failures.length > 0) throw failures[0]!.error
  if (late.length > 0) {
    throw new PipelineError('server_failed', `Not closed within ${closeMaxMs / 1_000} s: ${late.join(', ')}.`)
  }
  return worked.value
}
