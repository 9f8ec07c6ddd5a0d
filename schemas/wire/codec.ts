/** Codec contracts: what `avro.ts` makes from a definition and every other room uses. */
import type { EventValues, Problem } from '../kernel/event.ts'
import type { DecodeRow, ReadRow, RowLayout } from './event-rows.ts'

/** An internal record, Avro single-object encoding unless the definition chooses another for predictions. */
export interface RecordCodec<T> {
  /** Avro schemas by record name: what is committed under `schemas/`. */
  readonly schemas: ReadonlyMap<string, object>
  /** JSON schemas by record name, where records are written as JSON. */
  readonly jsonSchemas?: ReadonlyMap<string, object>
  encode(record: T): Buffer
  /** Throws `record_unreadable`. */
  decode(bytes: Buffer): T
}

/** A raw event from any producer. */
export interface EventCodec {
  readonly schemas: ReadonlyMap<string, object>
  /** Avro single-object encoding of a validated event. */
  encode(event: EventValues): Buffer
  /** JSON object or Avro single-object encoding, distinguished by the first bytes, checked against every field's declaration. */
  decode(bytes: Buffer | null): { ok: true; event: EventValues } | { ok: false; problems: readonly Problem[] }
  /** How events lie in rows. */
  readonly layout: RowLayout
  /** The fast way for most records: where it answers false, `decode` says what the record is. */
  readonly decodeRow: DecodeRow
  /** Of the event as a part of another record, without a header. */
  readonly readRow: ReadRow
  /** Checks values that come from a file; text is converted to the field's type where `fromText` is set. */
  check(
    values: unknown,
    options?: { fromText?: boolean },
  ): { ok: true; event: EventValues } | { ok: false; problems: readonly Problem[] }
}
