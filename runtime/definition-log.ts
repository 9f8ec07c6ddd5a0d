/**
 * The definitions that a pipeline's topic of schemas names, in: what the features of each meant, out. Read by whoever uses vectors that
 * were logged under an earlier definition.
 */
import { PipelineError } from '../schemas/kernel/errors.ts'
import { type DefinitionRecord, definitionIn } from '../schemas/wire/definition-record.ts'
import type { BrokerData } from './broker.ts'
import { readSpans } from './read-log.ts'

/** Anybody who may write the topic could fill the memory of every reader. */
const definitionsMax = 10_000

export interface DefinitionLog {
  /** Identity of each feature by name; null where the topic had no such definition when it was read last. */
  identitiesOf(fingerprint: string): ReadonlyMap<string, string> | null
  /** Knows everything that the topic has by now. Rejects as `load` does. */
  refresh(): Promise<void>
  /**
   * Knows these, where the topic has them: a definition is there before its first prediction, so one that is missing now stays so. Reads
   * nothing where all are known. One at a time. Rejects with `record_unreadable`, `registry_overrun` and the broker's codes.
   */
  load(fingerprints: Iterable<string>): Promise<void>
}

/** `topic`: the pipeline's topic of schemas, of one partition. Constructing starts nothing, and nothing stays open. */
export function createDefinitionLog(broker: BrokerData, topic: string): DefinitionLog {
  const known = new Map<string, ReadonlyMap<string, string> | null>()
  let nextOffset = 0

  async function refresh(): Promise<void> {
    const [found] = await broker.bounds([{ topic, partition: 0 }])
    const from = Math.max(nextOffset, found!.start)
    if (from >= found!.end) return
    const fetcher = await broker.fetcher()
    try {
      await readSpans(fetcher, [{ topic, partition: 0, from, end: found!.end }], ({ offset, value }) => {
        const definition = decoded(topic, offset, value)
        if (definition !== null) known.set(definition.fingerprint, definition.identities)
      })
      nextOffset = found!.end
    } finally {
      await fetcher.close()
    }
    requireBounded()
  }

  function requireBounded(): void {
    if (known.size <= definitionsMax) return
    const sentence = `More than ${definitionsMax} definitions were read from ${topic}, or named by predictions.`
    throw new PipelineError('registry_overrun', sentence, { details: { topic } })
  }

  return {
    identitiesOf: (fingerprint) => known.get(fingerprint) ?? null,
    refresh,
    async load(fingerprints) {
      const missing = [...fingerprints].filter((fingerprint) => !known.has(fingerprint))
      if (missing.length === 0) return
      await refresh()
      for (const fingerprint of missing) if (!known.has(fingerprint)) known.set(fingerprint, null)
      requireBounded()
    },
  }
}

function decoded(topic: string, offset: number, value: Buffer | null): DefinitionRecord | null {
  try {
    return definitionIn(JSON.parse(String(value)) as object)
  } catch (cause) {
    throw new PipelineError(
      'record_unreadable',
      `The record at ${topic} partition 0 offset ${offset} is no schema or definition in JSON: ${(cause as Error).message}.`,
      { cause, details: { topic, offset } },
    )
  }
}
