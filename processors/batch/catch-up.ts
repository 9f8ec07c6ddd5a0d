/**
 * Whether a task has done everything that its inputs had at some fetch: what others may wait for while the task is too busy ever to be at
 * the end of its inputs. Asked by the progress exchange through `Task`; the ends are noted by `decode.ts`.
 */
import { type ReadInput, resumeOf } from './task-input.ts'
import type { TaskState } from './task-state.ts'

export function startCatchUp(state: TaskState, round: number): void {
  const ends = state.inputs.map(({ fetched }) => (fetched.askedRound >= round ? fetched.end : null))
  state.catchUp = { round, ends }
}

/** An input was fetched: its end counts where the fetch began late enough. */
export function noteEnd({ catchUp, inputs }: TaskState, index: number): void {
  const { askedRound, end } = inputs[index]!.fetched
  if (catchUp && catchUp.ends[index] === null && askedRound >= catchUp.round) catchUp.ends[index] = end
}

export function hasCaughtUp({ catchUp, inputs }: TaskState): boolean {
  if (catchUp === null) return false
  return inputs.every((input, i) => {
    const end = catchUp.ends[i] ?? null
    return end !== null && doneUpTo(input) >= end
  })
}

/** Records of the input bring the task nearer to what it is catching up to. */
export function isBehindCatchUp({ catchUp, inputs }: TaskState, index: number): boolean {
  if (catchUp === null) return false
  const end = catchUp.ends[index] ?? null
  return end === null || inputs[index]!.nextOffset < end
}

function doneUpTo(input: ReadInput): number {
  return resumeOf(input)?.resumeOffset ?? input.nextOffset
}
