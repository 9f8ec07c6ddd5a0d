/**
 * Rows that were not sent come in, a file of JSON lines that can be repaired and sent again goes out; made by `produce --rejected`. A line
 * is the original event, by names of fields, with its problems under `$rejected`, which is never read as a field.
 *
 * It is written before the position moves past the row, and a resumed run cuts off what follows its position: each row is in it once. A row's
 * position is its source and its number among the rows of that source as they were sent.
 */
import { type FileHandle, open } from 'node:fs/promises'
import type { SourceEvent } from '../../producers/prepare.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Problem } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import { valueFromText } from '../../schemas/wire/event-codec.ts'

export interface RejectedFile {
  add(problems: readonly Problem[], event: SourceEvent, position: number): void
  /** What was added is on the disk when it resolves. */
  keep(): Promise<void>
  close(): Promise<void>
}

/** `rowsDone`: null starts over, numbers keep what a run before has written of so many rows of each source. */
export async function openRejectedFile(
  path: string,
  rowsDone: readonly number[] | null,
  streams: readonly StreamPlan[],
): Promise<RejectedFile> {
  const file = await open(path, rowsDone === null ? 'w' : 'a+').catch(unwritable(path))
  let added: string[] = []
  if (rowsDone !== null) {
    await cutOff(file, path, rowsDone).catch(async (error: unknown) => {
      await file.close()
      throw error
    })
  }

  function lineOf(problems: readonly Problem[], event: SourceEvent, position: number): string {
    const { location, source = 0, row = position } = event
    const rejection = { row, position: [source, position], location, problems }
    const found = readableCells(event)
    if (found === null)
      return JSON.stringify({ $rejected: { ...rejection, text: 'text' in event ? event.text : undefined } })
    const stream = streams.find(({ name }) => name === found.stream)
    const values =
      found.isText && stream ? typed(found.values as Readonly<Record<string, unknown>>, stream) : found.values
    const isObject = typeof values === 'object' && values !== null && !Array.isArray(values)
    return JSON.stringify(
      { stream: found.stream, ...(isObject ? values : { $values: values }), $rejected: rejection },
      plain,
    )
  }

  return {
    add: (problems, event, position) => void added.push(`${oneLine(lineOf(problems, event, position))}\n`),
    async keep() {
      if (added.length === 0) return
      const lines = added
      added = []
      await file
        .writeFile(lines.join(''))
        .then(() => file.datasync())
        .catch(unwritable(path))
    },
    close: () => file.close(),
  }
}

/** JSON leaves these two as they are, and Node ends a line at them when the file is read again. */
function oneLine(json: string): string {
  return json.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}

/** The values of a row, where at least its cells were found. */
function readableCells(
  event: SourceEvent,
): { readonly stream: string; readonly values: unknown; readonly isText: boolean } | null {
  if ('stream' in event) return { stream: event.stream, values: event.values, isText: event.isText ?? false }
  return 'cells' in event && event.cells ? { ...event.cells, isText: true } : null
}

function unwritable(path: string): (cause: Error) => never {
  return (cause) => {
    throw new PipelineError('output_unwritable', `${path} cannot be written: ${cause.message}.`, { cause })
  }
}

/** Cells as the JSON values that they denote, so that the line is read again as it was. */
function typed(cells: Readonly<Record<string, unknown>>, { fields }: StreamPlan): Record<string, unknown> {
  return Object.fromEntries(
    fields
      .filter(({ name }) => name in cells)
      .map((field) => {
        const cell = cells[field.name]
        return [field.name, typeof cell === 'string' ? valueFromText(field, cell) : cell]
      }),
  )
}

/** What JSON has no value for, as a text. */
function plain(_: string, value: unknown): unknown {
  if (typeof value === 'bigint') return String(value)
  return typeof value === 'number' && !Number.isFinite(value) ? String(value) : value
}

/** Keeps the lines of the first `rowsDone` rows. A line that was half written when a run ended can only be the last. */
async function cutOff(file: FileHandle, path: string, rowsDone: readonly number[]): Promise<void> {
  const { size } = await file.stat()
  let keptBytes = 0
  for await (const line of file.readLines({ start: 0, autoClose: false })) {
    const endsAt = keptBytes + Buffer.byteLength(line) + 1
    if (endsAt > size) break
    const [source, position] = positionOf(line, path)
    if (position > (rowsDone[source] ?? 0)) break
    keptBytes = endsAt
  }
  await file.truncate(keptBytes)
}

function positionOf(line: string, path: string): readonly [source: number, position: number] {
  try {
    const { $rejected } = JSON.parse(line) as { readonly $rejected?: { readonly position?: unknown } }
    const position = $rejected?.position
    if (Array.isArray(position)) return [Number(position[0]), Number(position[1])]
  } catch (cause) {
    throw noRejectedFile(path, cause)
  }
  throw noRejectedFile(path)
}

function noRejectedFile(path: string, cause?: unknown): PipelineError {
  return new PipelineError(
    'usage',
    `${path} was not written by --rejected, and --resume would append to it: name another file.`,
    { cause },
  )
}
