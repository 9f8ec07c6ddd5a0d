/**
 * The position of a task: where it resumes reading, how far it has read and how far it has folded. Events are held until they are in order,
 * so an offset alone would not do. A position travels as text in the metadata of Kafka's offset commit and in Redis, where it is compared
 * for equality.
 */
import { compareCanonical } from '../schemas/kernel/canonical-order.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { Frontier } from './watermarks/frontier.ts'

export interface InputPosition {
  /** First offset that is not done: everything before it was folded or rejected. This is the offset that is committed to Kafka. */
  readonly resumeOffset: number
  /** First offset that was not read. A valid event between the two is folded if the frontier covers it, else held. */
  readonly nextOffset: number
  /** Greatest event time of valid events before `resumeOffset`: lateness is relative to it, so reading again gives the same result. */
  readonly maxEventTime: number
}

export interface TaskPosition {
  /** Every event at or before it that was read is folded. */
  readonly frontier: Frontier
  /** Event time by which facts are kept, ms (`frontier.ts`): the time of the frontier, unless a source is behind it. */
  readonly retentionWatermark: number
  /** Raw topics in stream order, then the repartition topic. */
  readonly inputs: readonly InputPosition[]
  /** Events that were not in order, since the beginning; absent where there were none. */
  readonly disorder?: Disorder
}

/** Vectors that such an event has part in may differ from those of a replay. */
export interface Disorder {
  /** Events that arrived at or before the frontier. */
  readonly late: number
  /** Events that were released although a source that made no progress could still have sent an earlier one. */
  readonly early: number
  /** Predictions that were made before a late fact of their windows arrived, as far as they were counted. */
  readonly overtaken: number
  /** Late facts that may have part in more predictions than could be counted. */
  readonly uncounted: number
}

export const noDisorder: Disorder = { late: 0, early: 0, overtaken: 0, uncounted: 0 }

/** The position once a batch is folded that came upon such predictions. */
export function addOvertaken(
  position: TaskPosition,
  { overtaken, uncounted }: Pick<Disorder, 'overtaken' | 'uncounted'>,
): TaskPosition {
  const before = position.disorder ?? noDisorder
  const disorder = {
    ...before,
    overtaken: before.overtaken + overtaken,
    uncounted: before.uncounted + uncounted,
  }
  return { ...position, disorder }
}

const formatVersion = 1

export function encodePosition({ frontier, retentionWatermark, inputs, disorder }: TaskPosition): string {
  return JSON.stringify({
    v: formatVersion,
    passed: [finite(frontier.time), frontier.order],
    ...(retentionWatermark === frontier.time ? {} : { horizon: finite(retentionWatermark) }),
    inputs: inputs.map(({ resumeOffset, nextOffset, maxEventTime }) => [
      resumeOffset,
      nextOffset,
      finite(maxEventTime),
    ]),
    ...(disorder ? { late: disorder.late, early: disorder.early } : {}),
    ...(disorder?.overtaken ? { overtaken: disorder.overtaken } : {}),
    ...(disorder?.uncounted ? { uncounted: disorder.uncounted } : {}),
  })
}

/** JSON has no infinity: an event time before the first event is null. */
function finite(time: number): number | null {
  return Number.isFinite(time) ? time : null
}

/** Throws `record_unreadable` with `where` the text was found. */
export function decodePosition(text: string, where: string): TaskPosition {
  try {
    const parsed: unknown = JSON.parse(text)
    if (isPosition(parsed)) {
      const [time, order] = parsed.passed
      return {
        frontier: { time: time ?? Number.NEGATIVE_INFINITY, order },
        retentionWatermark: (parsed.horizon === undefined ? time : parsed.horizon) ?? Number.NEGATIVE_INFINITY,
        inputs: parsed.inputs.map(([resumeOffset, nextOffset, maxEventTime]) => ({
          resumeOffset,
          nextOffset,
          maxEventTime: maxEventTime ?? Number.NEGATIVE_INFINITY,
        })),
        ...disorderOf(parsed),
      }
    }
  } catch (cause) {
    throw unreadable(text, where, cause)
  }
  throw unreadable(text, where)
}

function disorderOf({ late = 0, early = 0, overtaken = 0, uncounted = 0 }: Encoded): Pick<TaskPosition, 'disorder'> {
  return late + early > 0 ? { disorder: { late, early, overtaken, uncounted } } : {}
}

interface Encoded {
  readonly passed: readonly [number | null, number]
  readonly horizon?: number | null
  readonly inputs: ReadonlyArray<readonly [number, number, number | null]>
  readonly late?: number
  readonly early?: number
  readonly overtaken?: number
  readonly uncounted?: number
}

function isPosition(value: unknown): value is Encoded {
  const { v, passed, horizon, inputs, ...counts } = (value ?? {}) as Record<string, unknown>
  const { late = 0, early = 0, overtaken = 0, uncounted = 0 } = counts
  const isTime = (time: unknown) => time === null || Number.isFinite(time)
  const isOffset = (offset: unknown) => Number.isSafeInteger(offset) && (offset as number) >= 0
  return (
    v === formatVersion &&
    Array.isArray(passed) &&
    passed.length === 2 &&
    isTime(passed[0]) &&
    Number.isSafeInteger(passed[1]) &&
    (horizon === undefined || isTime(horizon)) &&
    [late, early, overtaken, uncounted].every(isOffset) &&
    Array.isArray(inputs) &&
    inputs.every((input) => Array.isArray(input) && isOffset(input[0]) && isOffset(input[1]) && isTime(input[2]))
  )
}

function unreadable(text: string, where: string, cause?: unknown): PipelineError {
  const shown = text.length > 200 ? `${text.slice(0, 200)}…` : text
  return new PipelineError(
    'record_unreadable',
    `${where}: expected a task position of format ${formatVersion}, received ${shown || 'nothing'}. ` +
      'It was written by another version: start with --rebuild or another namespace.',
    { cause },
  )
}

/** The task's frontier, which bounds what can be queried; its time is −infinity before the first event. */
export function frontierOf(position: string): Frontier {
  return decodePosition(position, 'the stored position').frontier
}

/** `a` includes something that `b` does not include yet. */
export function isAhead(a: TaskPosition, b: TaskPosition): boolean {
  return (
    compareCanonical(a.frontier, b.frontier) > 0 ||
    a.inputs.some((input, i) => input.nextOffset > b.inputs[i]!.nextOffset)
  )
}
