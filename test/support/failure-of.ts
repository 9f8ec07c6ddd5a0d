/** What a promise rejects with, where a test expects one of our errors. */
import { PipelineError } from '../../schemas/kernel/errors.ts'

export async function failureOf(promise: Promise<unknown>): Promise<PipelineError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  )
  if (!(error instanceof PipelineError)) throw new Error('A PipelineError was expected', { cause: error })
  return error
}
