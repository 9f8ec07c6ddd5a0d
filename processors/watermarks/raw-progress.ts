/**
 * How far tasks that read a repartition topic have read the raw topics beside it. An event of such a raw topic waits until all tasks of the
 * stage before have observed that it was read; called by the progress exchange.
 */
import type { SourceProgress } from '../../schemas/wire/records.ts'
import type { RawReader } from './progress-task.ts'
import { rawSourceOf, type SourceFrontiers } from './source-frontiers.ts'

/** Readers whose first event in order is of a raw topic and beyond what was reported of that topic. */
export function unreportedReaders<T extends RawReader>(readers: readonly T[], frontiers: SourceFrontiers): T[] {
  return readers.filter((reader) => {
    const { stage, partition } = reader
    const top = stage.rawStreams.length > 0 ? reader.topRaw() : null
    return (
      top !== null && top.offset >= frontiers.latest[rawSourceOf(frontiers.sources, stage, partition, top.input)]!.time
    )
  })
}

/** Of every raw input: the next offset in place of a watermark. `sources`: tasks that write to the topic. */
export function rawProgressOf({ stage, partition, inputs }: RawReader, sources: number): SourceProgress[] {
  return stage.rawStreams.map((_, input) => ({
    source: rawSourceOf(sources, stage, partition, input),
    watermark: inputs[input]!.nextOffset,
    order: 0,
    retentionWatermark: null,
    idle: false,
    idleUpTo: null,
    caughtUp: false,
    advancing: false,
  }))
}
