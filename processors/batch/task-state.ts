/**
 * The state of one task: a partition of a stage, its inputs, the events it holds and where it stands. Plain data with the questions that
 * decoding (`decode.ts`), ordering (`order.ts`) and fetching (`fetch-plan.ts`) share; made by `createTask`.
 */
import assert from 'node:assert/strict'
import type { CanonicalPosition } from '../../schemas/kernel/canonical-order.ts'
import type { RejectedRecord } from '../../schemas/wire/dead-letter.ts'
import { type Disorder, noDisorder } from '../position.ts'
import { stageInputs } from '../stage-inputs.ts'
import { type Alignment, type AlignmentSource, createAlignment } from '../watermarks/alignment.ts'
import { rawSourceOf } from '../watermarks/source-frontiers.ts'
import { createKeyTable, type KeyTable } from './key-table.ts'
import type { StageEvent } from './stage-event.ts'
import type { TaskOptions } from './task-contract.ts'
import { createTaskInput, type ReadInput } from './task-input.ts'

export interface TaskState {
  readonly options: TaskOptions
  readonly inputs: readonly ReadInput[]
  readonly keys: KeyTable
  /** Text column with the key of the stage's entity, by stream; −1 where the stream has none. */
  readonly keyColumns: readonly number[]
  /** Holds what was read until every source has passed it. */
  readonly alignment: Alignment<StageEvent>
  /** Longest time that an event waits for a source that makes no progress; infinity where nothing may be released early. */
  readonly stallMaxMs: number
  /** Longest time that any stage keeps facts. */
  readonly factsKeptMs: number
  /** Between the stored position and Kafka's committed one: folded again without publishing. */
  isRestoring: boolean
  /** When records were last read, ms. */
  readAtMs: number
  /** When the task last released an event, or read what brings it nearer to the end of a restore or to what it is catching up to, ms. */
  nearerAtMs: number
  /** Events that were dropped since too many were held, and are read again. */
  overflowed: number
  /** Those of them that were read again. */
  heldAgain: number
  /** What the task is catching up to; null where it is not. */
  catchUp: CatchUp | null
  /** The reported frontier never goes back behind the recovered one. */
  floor: CanonicalPosition
  retentionWatermark: number
  /** Of the recovered position, without what the alignment had counted when the task became live. */
  disorderBefore: Disorder
  /** Records rejected since the last batch. */
  rejections: RejectedRecord[]
  /** The position has moved since the last batch. */
  hasMoved: boolean
}

/** The ends of the inputs at a fetch, or at the first one after it that asked for the input: null until then. */
export interface CatchUp {
  readonly round: number
  readonly ends: Array<number | null>
}

export function openTaskState(options: TaskOptions): TaskState {
  const { plan, start, restoreTo, limits } = options
  const inputs = openInputs(options)
  const disorderMs = Math.max(...plan.streams.map((stream) => stream.disorderMs))
  const state: TaskState = {
    options,
    inputs,
    keys: createKeyTable(options.partitions),
    keyColumns: keyColumnsOf(options),
    alignment: openAlignment(options, inputs),
    // The bound is for an event's whole way through the pipeline; each stage gets an equal part of it.
    stallMaxMs: limits.holdMaxMs / plan.stages.length + disorderMs,
    factsKeptMs: Math.max(...plan.stages.map(({ entity }) => entity.retentionMs)),
    isRestoring: restoreTo !== null,
    readAtMs: options.openedAtMs,
    nearerAtMs: Number.NEGATIVE_INFINITY,
    overflowed: 0,
    heldAgain: 0,
    catchUp: null,
    floor: start.frontier,
    retentionWatermark: start.retentionWatermark,
    disorderBefore: (restoreTo ?? start).disorder ?? noDisorder,
    rejections: [],
    hasMoved: false,
  }
  finishRestoredInputs(state)
  return state
}

function keyColumnsOf({ plan, stage }: TaskOptions): number[] {
  return plan.streams.map(({ index, codec }) => {
    const name = stage.entity.keyFields.get(index)
    return codec.layout.fields.find((field) => field.name === name)?.column ?? -1
  })
}

function openInputs({ plan, stage, partition, start }: TaskOptions): ReadInput[] {
  const topics = stageInputs(plan, stage)
  assert(topics.length === start.inputs.length, 'a position has one entry for each input')
  return topics.map(({ topic, stream }, i) =>
    createTaskInput({ topic, partition, stream, firstSource: i }, start.inputs[i]!),
  )
}

function openAlignment(options: TaskOptions, inputs: readonly ReadInput[]): Alignment<StageEvent> {
  const { stage, partition, tasksBefore, start } = options
  const sources = inputs.flatMap((input, i): AlignmentSource[] =>
    input.stream
      ? [{ kind: 'raw', input: i, disorderMs: input.stream.disorderMs }]
      : Array.from({ length: tasksBefore }, () => ({ kind: 'task', input: i })),
  )
  const rawSource = (input: number) => rawSourceOf(tasksBefore, stage, partition, input)
  return createAlignment<StageEvent>({ sources, rawSourceOf: rawSource }, start.frontier)
}

/** The input is read again from before the recovered position. */
export function isBehindStart({ options }: TaskState, input: ReadInput, index: number): boolean {
  return input.nextOffset < options.start.inputs[index]!.nextOffset
}

/**
 * Nothing is released before everything that the start position stands for was read again: a position that had read less could not say
 * what of it was done, and would lie behind the position that it follows.
 */
export function isRereading(state: TaskState): boolean {
  return state.inputs.some((input, i) => isBehindStart(state, input, i))
}

/** All that is to be folded again was read of this input. */
export function isInputRestored({ options, inputs, isRestoring }: TaskState, index: number): boolean {
  const { restoreTo } = options
  return restoreTo !== null && isRestoring && inputs[index]!.nextOffset >= restoreTo.inputs[index]!.nextOffset
}

/** Inputs that were read up to the end of the restore are waited for no longer. */
export function finishRestoredInputs(state: TaskState): void {
  state.inputs.forEach((_, i) => {
    state.alignment.setFinished(i, isInputRestored(state, i))
  })
}
