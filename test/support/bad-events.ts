/**
 * Malformed events for tests, of every kind that a raw topic may meet: a kind and a good event in, the bytes, their path and the code
 * out.
 */
import { partitionOf } from '../../runtime/partition.ts'
import type { EventValues, RejectCode } from '../../schemas/kernel/event.ts'
import type { StreamPlan } from '../../schemas/plan/plan.ts'
import type { Random } from '../../testing/random.ts'

export interface BadEvent {
  readonly partition: number
  readonly key: Buffer | null
  readonly value: Buffer | null
  /** Of the first problem. */
  readonly code: RejectCode
}

export interface BadEventOptions {
  readonly random: Random
  readonly scored: StreamPlan
  /** A good event to begin with. */
  readonly like: EventValues
  readonly partitions: number
}

interface Spoilt {
  readonly value: Buffer | null
  readonly code: RejectCode
  /** Where it is not the key's own. */
  readonly partition?: number
}

type Spoil = (options: BadEventOptions) => Spoilt

const json = (values: object): Buffer => Buffer.from(JSON.stringify(values))
const day = 86_400_000

/** JSON text with one field's value written verbatim. */
function withText({ like }: BadEventOptions, field: string, text: string): Buffer {
  const { [field]: _, ...rest } = like
  return Buffer.from(`{"${field}":${text},${JSON.stringify(rest).slice(1)}`)
}

/** Avro of the event with the double of the amount replaced. */
function withDouble({ scored, like }: BadEventOptions, value: number): Buffer {
  const encoded = scored.codec.encode({ ...like, amount: 12_345.67 })
  const marker = Buffer.alloc(8)
  marker.writeDoubleLE(12_345.67)
  encoded.writeDoubleLE(value, encoded.indexOf(marker))
  return encoded
}

/** What both Kafka and HTTP may bring. */
const texts = {
  wrongType: (o) => ({ value: json({ ...o.like, amount: String(o.like.amount) }), code: 'type' }),
  list: () => ({ value: json([1, 2, 3]), code: 'type' }),
  missing: ({ like: { terminalId: _, ...rest } }) => ({ value: json(rest), code: 'missing' }),
  isNull: (o) => ({ value: json({ ...o.like, txId: null }), code: 'missing' }),
  negative: (o) => ({ value: json({ ...o.like, amount: -1 }), code: 'range' }),
  decimals: (o) => ({ value: json({ ...o.like, amount: 1.234 }), code: 'decimals' }),
  notANumber: (o) => ({ value: withText(o, 'amount', 'NaN'), code: 'not_json' }),
  infinite: (o) => ({ value: withText(o, 'amount', '1e999'), code: 'type' }),
  beyondDouble: (o) => ({ value: withText(o, 'at', '9007199254740993'), code: 'range' }),
  before1970: (o) => ({ value: json({ ...o.like, at: -1 }), code: 'range' }),
  noZone: (o) => ({ value: json({ ...o.like, at: '2018-04-01T06:00:00' }), code: 'type' }),
  oversized: (o) => ({
    value: json({ ...o.like, terminalId: 't'.repeat(257 + o.random.below(100_000)) }),
    code: 'length',
  }),
  emptyText: (o) => ({ value: json({ ...o.like, terminalId: '' }), code: 'length' }),
  twice: (o) => ({ value: Buffer.from(`{"amount":1,${JSON.stringify(o.like).slice(1)}`), code: 'repeated' }),
  cutJson: (o) => ({ value: cut(json(o.like), o), code: 'not_json' }),
  invalidUtf8: (o) => ({
    value: Buffer.concat([Buffer.from('{"txId":"'), Buffer.from([0xff, 0xfe, 0xc0]), json(o.like).subarray(9)]),
    code: 'not_json',
  }),
  loneSurrogate: (o) => ({ value: withText(o, 'terminalId', '"\\ud800"'), code: 'type' }),
} as const satisfies Record<string, Spoil>

const binaries = {
  truncatedAvro: (o) => ({ value: cut(o.scored.codec.encode(o.like), o, 10), code: 'not_avro' }),
  trailingAvro: (o) => ({
    value: Buffer.concat([o.scored.codec.encode(o.like), Buffer.from([o.random.below(256)])]),
    code: 'not_avro',
  }),
  unknownSchema: (o) => {
    const value = o.scored.codec.encode(o.like)
    for (let i = 2; i < 10; i++) value[i] = o.random.below(256)
    return { value, code: 'schema_unknown' }
  },
  avroNaN: (o) => ({ value: withDouble(o, Number.NaN), code: 'type' }),
  avroInfinity: (o) => ({ value: withDouble(o, Number.NEGATIVE_INFINITY), code: 'type' }),
  noise: (o) => ({
    // Never the markers of Avro or of a schema registry, nor the beginning of JSON.
    value: Buffer.from(Array.from({ length: 1 + o.random.below(200) }, () => 128 + o.random.below(60))),
    code: 'not_json',
  }),
  empty: () => ({ value: Buffer.alloc(0), code: 'empty' }),
  tombstone: () => ({ value: null, code: 'empty' }),
  longAgo: (o) => ({ value: json({ ...o.like, at: Date.UTC(1990, 0, 1) + o.random.below(day) }), code: 'late' }),
  year2038: (o) => ({ value: json({ ...o.like, at: 2 ** 31 * 1_000 + o.random.below(day) }), code: 'ahead' }),
  otherPartition: (o) => {
    const belongs = partitionOf(Buffer.from(o.like[o.scored.keyField] as string), o.partitions)
    const partition = (belongs + 1 + o.random.below(o.partitions - 1)) % o.partitions
    return { value: json(o.like), code: 'partition_mismatch', partition }
  },
} as const satisfies Record<string, Spoil>

export type BadKind = keyof typeof texts | keyof typeof binaries
const kinds: Readonly<Record<BadKind, Spoil>> = { ...texts, ...binaries }
export const kafkaKinds = Object.keys(kinds) as BadKind[]
export const httpKinds = Object.keys(texts) as BadKind[]

export function badEvent(kind: BadKind, options: BadEventOptions): BadEvent {
  const { scored, like, partitions } = options
  const key = Buffer.from(like[scored.keyField] as string)
  return { partition: partitionOf(key, partitions), key, ...kinds[kind](options) }
}

function cut(bytes: Buffer, { random }: BadEventOptions, leave = 1): Buffer {
  return bytes.subarray(0, leave + random.below(bytes.length - leave))
}
