/**
 * A file or standard input in, its rows in the order of event time out, or the error that says how to sort them; called by
 * `open-source.ts`.
 * A file is read once before its first row goes on: an order that is wrong must be known before a part of it is sent.
 */
import { createOrderWatch, type OrderWatch, outOfOrderText } from '../../producers/event-order.ts'
import type { Rows } from '../../producers/merge.ts'
import type { RowCheck, SourceEvent } from '../../producers/prepare.ts'
import { sortedRows } from '../../producers/sort-rows.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { shown } from '../terminal.ts'
import type { FileSource, Reading } from './file.ts'
import type { SourceContext, SourceOptions, TimeSpan } from './source.ts'

export interface OrderedSource {
  readonly rows: Rows
  readonly shareRead: () => number | null
  /** Null for standard input. */
  readonly file: FileSource | null
  /** Null where no event was seen, and for standard input. */
  readonly span: TimeSpan | null
  /** Every row comes at or after those before it. */
  readonly isSorted: boolean
  /** Beyond what is declared, where that is no error. */
  readonly isOutOfOrder: boolean
}

export interface Ordering {
  readonly options: Pick<SourceOptions, 'sort' | 'unsorted'>
  readonly surroundings: SourceContext
  readonly check: RowCheck
  /** Those that are read together. */
  readonly sources: number
}

const reportRows = 1_000_000
/** Of all that are sorted together, but no less than 64 MB each. */
const sortBytesMax = 256 * 1_024 * 1_024
const sortBytesMin = 64 * 1_024 * 1_024

export async function orderedFile(file: FileSource, ordering: Ordering): Promise<OrderedSource> {
  const { options, surroundings } = ordering
  const { name } = file.part
  const { watch, span, rows } = await readOnce(file, ordering)
  const isOutOfOrder = watch.first !== null && !options.sort && !options.unsorted
  if (watch.first && isOutOfOrder) {
    const text = outOfOrderText(name, watch.first, watch.outOfOrder)
    const asItIs = surroundings.isReplay ? '' : '. Nothing was sent; --unsorted sends the rows as they are'
    const message = `${text} To have it sorted, in a temporary folder, add --sort${asItIs}.`
    if (!surroundings.isTrial) throw new PipelineError('usage', message)
    surroundings.printLine(message)
  }
  const reading = file.read(() => undefined)
  const isSorting = options.sort === true && !watch.isSorted
  return {
    ...(isSorting
      ? counted(sorted(reading, name, ordering), rows)
      : { rows: reading.chunks, shareRead: reading.shareRead }),
    file,
    span,
    isSorted: isSorting || watch.isSorted,
    isOutOfOrder,
  }
}

/** What cannot be read twice is sorted unseen; unsorted it is watched, and cannot be merged where it is out of order. */
export function orderedInput(reading: Reading, ordering: Ordering): OrderedSource {
  const isSorting = ordering.options.sort === true
  const rows = isSorting ? sorted(reading, 'standard input', ordering) : watched(reading, ordering)
  return { rows, shareRead: reading.shareRead, file: null, span: null, isSorted: isSorting, isOutOfOrder: false }
}

/** The file itself was read to its end before the first of its rows came. */
function counted(rows: Rows, all: number): Pick<OrderedSource, 'rows' | 'shareRead'> {
  let read = 0
  async function* counting(): Rows {
    for await (const chunk of rows) {
      read += chunk.length
      yield chunk
    }
  }
  return { rows: counting(), shareRead: () => (all === 0 ? null : read / all) }
}

function sorted({ chunks }: Reading, sourceName: string, { surroundings, check, sources }: Ordering): Rows {
  const memoryBytesMax = Math.max(sortBytesMin, sortBytesMax / sources)
  return sortedRows(chunks, { sourceName, check, printLine: surroundings.printLine, memoryBytesMax })
}

async function readOnce(
  file: FileSource,
  { surroundings, check }: Ordering,
): Promise<{ readonly watch: OrderWatch; readonly span: TimeSpan | null; readonly rows: number }> {
  const { printLine } = surroundings
  const { chunks, shareRead } = file.read(printLine)
  const watch = createOrderWatch()
  let [rows, reported, firstMs] = [0, 0, Number.POSITIVE_INFINITY]
  for await (const chunk of chunks) {
    for (const event of chunk) {
      const row = check(event)
      rows++
      if (row.kind === 'event') firstMs = Math.min(firstMs, row.timeMs)
      watch.add(row, event.location ?? `row ${rows}`)
    }
    if (rows < reported + reportRows) continue
    reported = rows
    const share = shareRead()
    printLine(
      `${file.part.name}: the order of ${shown(rows)} rows is checked${share === null ? '' : `, ${(share * 100).toFixed(0)} %`}`,
    )
  }
  return { watch, span: Number.isFinite(firstMs) ? { firstMs, lastMs: watch.latestMs } : null, rows }
}

async function* watched(
  { chunks }: Reading,
  { options, surroundings, check, sources }: Ordering,
): AsyncGenerator<readonly SourceEvent[], void, void> {
  const watch = createOrderWatch()
  let rows = 0
  for await (const chunk of chunks) {
    const before = watch.outOfOrder
    for (const event of chunk) watch.add(check(event), event.location ?? `row ${++rows}`)
    if (before === 0 && watch.first && !options.unsorted) {
      const text = outOfOrderText('Standard input', watch.first, 1)
      if (sources > 1 || surroundings.isReplay) throw new PipelineError('usage', `${text} Add --sort.`)
      surroundings.printLine(`${text} Rows go on as they come; --sort would sort them first.`)
    }
    yield chunk
  }
}
