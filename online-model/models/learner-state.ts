/**
 * The state of a learner as bytes, and back: named typed arrays behind a line of JSON that identifies the learner. Called by every
 * learner's `save` and start.
 */
import assert from 'node:assert/strict'
import { isDeepStrictEqual } from 'node:util'
import { PipelineError } from '../../schemas/kernel/errors.ts'

export type StateArrays = Readonly<Record<string, Float64Array | Uint32Array | Uint8Array>>

interface Header {
  readonly format: string
  /** What the state was made for: it means nothing to any other learner. */
  readonly owner: unknown
  /** Bytes of each array, in order. */
  readonly arrays: Readonly<Record<string, number>>
}

const format = 'millrace-learner/1'

export function sealState(owner: unknown, arrays: StateArrays): Buffer {
  const lengths = Object.fromEntries(Object.entries(arrays).map(([name, array]) => [name, array.byteLength]))
  const header: Header = { format, owner, arrays: lengths }
  const parts = Object.values(arrays).map((array) => Buffer.from(array.buffer, array.byteOffset, array.byteLength))
  return Buffer.concat([Buffer.from(`${JSON.stringify(header)}\n`), ...parts])
}

/** Fills `arrays`, which have the lengths they had when they were sealed. Throws `state_foreign` where the state is another's. */
export function openState(state: Buffer, owner: unknown, arrays: StateArrays): void {
  const end = state.indexOf(0x0a)
  const header = headerOf(end < 0 ? '' : state.toString('utf8', 0, end))
  const wanted = JSON.parse(JSON.stringify(owner)) as unknown
  if (header === null || !isDeepStrictEqual(header.owner, wanted)) {
    throw new PipelineError(
      'state_foreign',
      `The learner's state belongs to ${header === null ? 'none of this version' : JSON.stringify(header.owner)}, ` +
        `this one is ${JSON.stringify(owner)}: begin without it.`,
      { details: { owner } },
    )
  }
  let from = end + 1
  for (const [name, array] of Object.entries(arrays)) {
    assert(
      header.arrays[name] === array.byteLength,
      `${name} has ${header.arrays[name]} bytes, not ${array.byteLength}`,
    )
    const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
    bytes.set(state.subarray(from, from + array.byteLength))
    from += array.byteLength
  }
  assert(from === state.length, `${state.length - from} bytes of the learner's state are left over`)
}

function headerOf(line: string): Header | null {
  try {
    const header = JSON.parse(line) as Header
    return header.format === format ? header : null
  } catch {
    // It is no state of a learner; the caller reports that.
    return null
  }
}
