/**
 * The checks of the doctor, one line each: an examination in, its checks out, in bounded time even when servers fail; called by `doctor`.
 */

import { createDeadline } from '../../runtime/deadline.ts'
import { errorCatalogue, PipelineError } from '../../schemas/kernel/errors.ts'
import { withFullStop } from '../failure-text.ts'

export interface Check {
  readonly name: string
  readonly status: 'ok' | 'warn' | 'fail'
  readonly message: string
  /** What to do; always there for a failure. */
  readonly remedy?: string
}

export interface Examination {
  /** Of the check that reports a failed examination. */
  readonly name: string
  readonly examine: () => Promise<readonly Check[]>
}

export const ok = (name: string, message: string): Check => ({ name, status: 'ok', message })
export const warn = (name: string, message: string, remedy: string): Check => ({
  name,
  status: 'warn',
  message,
  remedy,
})
export const fail = (name: string, message: string, remedy: string): Check => ({
  name,
  status: 'fail',
  message,
  remedy,
})

/** A resource that several examinations need. It is opened once; examinations that need one that failed to open are skipped. */
export interface Part<T> {
  /** Rejects with the failure. For the examination that is about this part. */
  open(): Promise<T>
  /** Rejects with `NotChecked`. For all others. */
  needed(): Promise<T>
}

/** A missing part is reported once, by its own check. */
export class NotChecked extends Error {}

class Late extends Error {}

const partMaxMs = 8_000
const examinationMaxMs = 20_000

/** `needs`: other parts, each with its own time limit. */
export function createPart<T, N>(
  name: string,
  needs: () => Promise<N>,
  open: (needed: N) => Promise<T>,
  deadlineAfter = createDeadline,
): Part<T> {
  let opening: Promise<T> | undefined
  const once = () => {
    opening ??= needs().then((needed) => bounded(open(needed), deadlineAfter, partMaxMs))
    return opening
  }
  return {
    open: once,
    async needed() {
      try {
        return await once()
      } catch (cause) {
        // The cause is in the part that this one needs.
        throw cause instanceof NotChecked ? cause : new NotChecked(`not checked: it needs ${name}.`, { cause })
      }
    },
  }
}

/** Rejects only for a bug: a `PipelineError` becomes a failed check. */
export async function examined(
  { name, examine }: Examination,
  deadlineAfter = createDeadline,
): Promise<readonly Check[]> {
  try {
    return await bounded(examine(), deadlineAfter, examinationMaxMs)
  } catch (error) {
    if (error instanceof NotChecked) return [warn(name, error.message, 'Fix that first.')]
    if (error instanceof Late) {
      return [fail(name, error.message, 'Check whether it is overloaded or blocked by a firewall.')]
    }
    if (error instanceof PipelineError)
      return [fail(name, withFullStop(error.message), errorCatalogue[error.code].remedy)]
    throw error
  }
}

async function bounded<T>(answer: Promise<T>, deadlineAfter: typeof createDeadline, maxMs: number): Promise<T> {
  const deadline = deadlineAfter(maxMs)
  try {
    const first = await Promise.race([answer.then((value) => ({ value })), deadline.reached])
    if (first !== 'late') return first.value
    // A later answer or failure is ignored.
    answer.catch(() => undefined)
    throw new Late(`no answer within ${maxMs / 1_000} s.`)
  } finally {
    deadline.cancel()
  }
}
