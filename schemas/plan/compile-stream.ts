/** A checked stream of a definition in, its part of the plan out. Called by `compile`. */

import type { AnyStream, FieldSpec, Instants } from '../definition/definition.ts'
import { instantsDefault, parseLimit } from '../definition/instants.ts'
import { parseDuration } from '../kernel/duration.ts'
import type { FieldPlan } from '../kernel/event.ts'
import type { EventCodec } from '../wire/codec.ts'
import { createEventCodec } from '../wire/event-codec.ts'
import { avroName } from '../wire/record-codecs.ts'
import type { WriterSchemas } from '../wire/writer-schemas.ts'
import type { StreamPlan } from './plan.ts'

export interface CodecParts {
  readonly prefix: string
  readonly rawPrefix: string
  readonly avroNamespace: string
  readonly writers: WriterSchemas
}

export function planStream(
  stream: AnyStream,
  index: number,
  entersAt: number | null,
  { rawPrefix, avroNamespace, writers }: CodecParts,
): StreamPlan {
  const fields = Object.entries(stream.specs).map(([name, spec]) => planField(name, spec, stream.instants))
  const codec: EventCodec = createEventCodec(avroName(stream.name), avroNamespace, fields, writers)
  const columnOf = (name: string) => codec.layout.fields.find((field) => field.name === name)!.column
  return {
    name: stream.name,
    index,
    topic: `${rawPrefix}${stream.topic}`,
    idField: stream.id,
    keyField: stream.key,
    timeField: stream.time,
    fields,
    columns: { id: columnOf(stream.id), key: columnOf(stream.key), time: columnOf(stream.time) },
    disorderMs: parseDuration(stream.disorder)!,
    latenessMs: parseDuration(stream.lateness)!,
    aheadMs: parseDuration(stream.ahead)!,
    rekey: stream.rekey,
    codec,
    entersAt,
  }
}

function planField(name: string, { from, until, ...spec }: FieldSpec, instants: Instants): FieldPlan {
  if (spec.kind !== 'timestamp') return { name, ...spec }
  const limit = (of: keyof Instants, own: string | undefined) => parseLimit(own ?? instants[of] ?? instantsDefault[of])!
  return { name, ...spec, min: limit('from', from), max: limit('until', until) - 1 }
}
