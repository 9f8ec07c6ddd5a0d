/**
 * A model version with its name in, its two registry records out: the version and the change of the champion alias. For a registry of one's
 * own, as benchmarks have it; with other writers use `writer.ts`.
 */
import type { Producer } from '../../runtime/broker.ts'
import type { RecordCodec } from '../../schemas/wire/codec.ts'
import type { ModelVersion, RegistryRecord } from '../../schemas/wire/records.ts'
import { championAlias } from './registry.ts'

export interface Publication {
  /** The registry topic under its full name. */
  readonly topic: string
  readonly codec: RecordCodec<RegistryRecord>
  readonly version: ModelVersion
  /** Champion that this version replaces; every reader ignores the change if another one came in between. */
  readonly previous: string | null
  readonly by: string
  readonly reason: string
  readonly changedAtMs: number
}

/**
 * Resolves when both records are acknowledged. That the alias moved is only known from the registry itself: read it
 * again, and compare the champion with this version.
 */
export async function publishVersion(producer: Producer, publication: Publication): Promise<void> {
  const { topic, codec, version, previous, by, reason, changedAtMs } = publication
  const records: RegistryRecord[] = [
    version,
    { kind: 'alias', alias: championAlias, version: version.version, previous, changedAtMs, by, reason, action: 'set' },
  ]
  await producer.send(
    records.map((record) => ({ topic, partition: 0, key: Buffer.from(version.version), value: codec.encode(record) })),
  )
}
