/**
 * Unpacks the records of a compressed batch: gzip by Node itself, the others by a codec registered with kafkajs,
 * where there is one.
 */
import zlib from 'node:zlib'
import { PipelineError } from '../../schemas/errors.ts'
import type { TopicPartition } from '../broker.ts'
import { registeredCodec } from './kafkajs-seam.ts'

const names = ['none', 'gzip', 'snappy', 'lz4', 'zstd']

/** A batch that unpacks to more than this is refused. */
const unpackedBytesMax = 128 * 1024 * 1024

export async function decompress(compression: number, packed: Buffer, place: TopicPartition): Promise<Buffer> {
  const { topic, partition } = place
  const name = names[compression] ?? `codec ${compression}`
  try {
    if (name === 'gzip') return zlib.gunzipSync(packed, { maxOutputLength: unpackedBytesMax })
    return await registeredCodec(compression).decompress(packed)
  } catch (cause) {
    throw new PipelineError(
      'kafka_request_failed',
      `A ${name} batch of ${topic}, partition ${partition}, cannot be unpacked: none and gzip are read here, ` +
        "others need a codec in kafkajs's CompressionCodecs (or set compression.type=gzip on the topic)",
      { cause, details: { topic, partition, compression: name } },
    )
  }
}
