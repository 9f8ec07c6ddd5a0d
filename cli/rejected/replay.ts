/**
 * `millrace rejected replay`: requeues the events of dead letters to their raw topics, unchanged or repaired, and counts what would
 * be rejected again.
 */
import { readFile } from 'node:fs/promises'
import { type Requeue, requeue } from '../../processors/recovery/requeue.ts'
import type { BrokerData, OutRecord, Producer } from '../../runtime/broker.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import { isValueCut } from '../../schemas/wire/dead-letter.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { shown } from '../terminal.ts'
import { requireTopics } from '../topics/requirements.ts'
import { writeFigures } from '../whole-file.ts'
import {
  type DeadLetterFilter,
  type DeadLetterLocation,
  type LocatedDeadLetter,
  readDeadLetter,
  readDeadLetters,
  recordAt,
  shownLocation,
} from './read.ts'

export interface RejectedReplayOptions extends DeadLetterFilter {
  readonly all?: boolean
  /** File with repaired bytes for the one dead letter that is named. */
  readonly value?: string
  readonly dryRun?: boolean
  readonly json?: string
}

const linesShownMax = 20
/** Records on their way to Kafka at once. */
const bytesTogetherMax = 4_194_304
/** What a record takes beside key, value and headers, and their lengths. */
const recordOverheadBytes = 256

export async function rejectedReplayCommand(
  definition: string,
  locations: readonly DeadLetterLocation[],
  options: RejectedReplayOptions,
  context: CommandContext,
): Promise<number> {
  const { config, terminal, clock } = context
  failOnUnclear(locations, options)
  const plan = await loadPlan(definition, config)
  const repaired = options.value === undefined ? null : await readValue(options.value)
  const broker = context.openBroker(config)
  try {
    const topics = plan.streams.map(({ topic }) => topic)
    const partitionsOf = await requireTopics(broker.data, topics)
    if (!options.dryRun) await broker.admin.requireRights(topics.map((topic) => ({ topic, rights: ['Write'] })))
    const limits = await broker.admin.topicSettings(topics, ['max.message.bytes'])
    const tally = createTally(options.dryRun ?? false, terminal.out)
    const sending = createSending(broker.data, options.dryRun ?? false)
    try {
      for await (const located of deadLettersOf(broker.data, plan, locations, options)) {
        const { deadLetter } = located
        const value = repaired ?? (await originalValue(broker.data, deadLetter))
        const outcome: Requeue =
          value === 'gone'
            ? {
                ok: false,
                code: 'value_cut',
                reason: 'the dead letter holds only a part of the value; supply it with --value',
              }
            : fitting(requeue(deadLetter, value, { plan, partitionsOf, nowMs: clock.nowMs() }), limits)
        tally.count(located, outcome)
        if (outcome.ok) await sending.add(outcome.record)
      }
    } finally {
      await sending.finish()
    }
    const figures = tally.finish()
    await writeFigures(options.json, figures)
    return figures.refused > 0 ? exitCodes.failed : exitCodes.done
  } finally {
    await broker.close()
  }
}

/** The dead letters must be named: a forgotten argument must not replay all of production's. */
function failOnUnclear(locations: readonly DeadLetterLocation[], options: RejectedReplayOptions): void {
  const { all = false, value, code, stream, stage, since, until } = options
  const filters = [code, stream, stage, since, until].filter((filter) => filter !== undefined)
  const isFiltered = all || filters.length > 0
  if (locations.length > 0 === isFiltered) {
    throw new PipelineError(
      'usage',
      'Name the dead letters: locations such as 0:17, or filters such as --code late, or --all.',
    )
  }
  if (value !== undefined && locations.length !== 1) {
    throw new PipelineError('usage', `--value needs exactly one location, received ${locations.length}.`)
  }
}

async function readValue(path: string): Promise<Buffer> {
  return readFile(path).catch((cause: Error) => {
    throw new PipelineError('input_unreadable', `${path} cannot be read: ${cause.message}.`, { cause })
  })
}

async function* deadLettersOf(
  broker: BrokerData,
  plan: Plan,
  locations: readonly DeadLetterLocation[],
  options: RejectedReplayOptions,
): AsyncGenerator<LocatedDeadLetter> {
  if (locations.length === 0) yield* readDeadLetters(broker, plan, options)
  for (const location of locations) yield await readDeadLetter(broker, plan, location)
}

/** The whole value, from the original record if the dead letter holds only a part. */
async function originalValue(broker: BrokerData, deadLetter: DeadLetter): Promise<Buffer | null | 'gone'> {
  if (!isValueCut(deadLetter)) return deadLetter.value
  const record = await recordAt(broker, deadLetter.topic, deadLetter)
  const isSame = record?.value?.length === deadLetter.valueBytes && record.value.indexOf(deadLetter.value!) === 0
  return isSame ? record.value : 'gone'
}

function fitting(outcome: Requeue, limits: ReadonlyMap<string, ReadonlyMap<string, string>>): Requeue {
  if (!outcome.ok) return outcome
  const { topic, key, value, headers = {} } = outcome.record
  const headerBytes = Object.entries(headers).reduce(
    (sum, [name, bytes]) => sum + 16 + name.length * 3 + bytes.length,
    0,
  )
  const bytes = (key?.length ?? 0) + (value?.length ?? 0) + headerBytes + recordOverheadBytes
  const max = Number(limits.get(topic)?.get('max.message.bytes') ?? Number.POSITIVE_INFINITY)
  if (bytes <= max) return outcome
  return {
    ok: false,
    code: 'record_too_large',
    reason: `about ${bytes} bytes with headers; ${topic} takes ${max} (max.message.bytes)`,
  }
}

function createSending(broker: BrokerData, isDryRun: boolean) {
  let waiting: OutRecord[] = []
  let bytes = 0
  let producer: Producer | null = null

  async function flush(): Promise<void> {
    const records = waiting
    waiting = []
    bytes = 0
    if (records.length === 0 || isDryRun) return
    producer ??= await broker.producer()
    await producer.send(records)
  }

  return {
    async add(record: OutRecord) {
      waiting.push(record)
      bytes += record.value?.length ?? 0
      if (bytes >= bytesTogetherMax) await flush()
    },
    async finish() {
      await flush()
      await producer?.close()
    },
  }
}

function createTally(isDryRun: boolean, out: (line: string) => void) {
  const byCode = new Map<string, number>()
  let replayed = 0
  let refused = 0

  function count(located: LocatedDeadLetter, outcome: Requeue): void {
    if (outcome.ok) replayed++
    else {
      refused++
      byCode.set(outcome.code, (byCode.get(outcome.code) ?? 0) + 1)
    }
    if (replayed + refused > linesShownMax) return
    const location = shownLocation(located)
    if (!outcome.ok) {
      out(`${location}  rejected  ${outcome.code}: ${outcome.reason}`)
      return
    }
    const { topic, partition } = outcome.record
    out(
      `${location}  ${isDryRun ? 'would be sent' : 'sent'} to ${topic}-${partition}  ${outcome.id}, attempt ${located.deadLetter.attempt + 1}`,
    )
  }

  function finish() {
    const more = replayed + refused - linesShownMax
    if (more > 0) out(`… and ${shown(more)} more`)
    const codes = [...byCode].sort(([, a], [, b]) => b - a).map(([code, times]) => `${shown(times)} ${code}`)
    const listed = codes.length > 0 ? `: ${codes.join(', ')}` : ''
    out(`${shown(replayed)} ${isDryRun ? 'would be requeued' : 'requeued'}, ${shown(refused)} rejected${listed}.`)
    return { replayed, refused, rejectedByCode: Object.fromEntries(byCode), dryRun: isDryRun }
  }

  return { count, finish }
}
