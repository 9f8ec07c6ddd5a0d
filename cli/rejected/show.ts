/** `millrace rejected show`: all that a dead letter holds, its event as readable as its bytes allow. */

import type { Plan } from '../../schemas/plan/plan.ts'
import { isSingleObject } from '../../schemas/wire/avro-fingerprint.ts'
import type { AvroSchema } from '../../schemas/wire/avro-types.ts'
import { isValueCut } from '../../schemas/wire/dead-letter.ts'
import type { DeadLetter } from '../../schemas/wire/records.ts'
import { createSingleObjectCodec } from '../../schemas/wire/single-object.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { loadPlan } from '../load-plan.ts'
import { bytesJson } from '../tail/lines.ts'
import { shown, shownTime } from '../terminal.ts'
import { originOf } from './list.ts'
import { type DeadLetterLocation, readDeadLetter, shownLocation } from './read.ts'

const bytesShownMax = 512

export async function rejectedShowCommand(
  definition: string,
  location: DeadLetterLocation,
  options: { readonly json?: boolean },
  context: CommandContext,
): Promise<number> {
  const { config, terminal } = context
  const plan = await loadPlan(definition, config)
  const broker = context.openBroker(config)
  try {
    const { deadLetter, appendedAtMs } = await readDeadLetter(broker.data, plan, location)
    if (options.json) {
      const { key, value, headers, ...rest } = deadLetter
      const shownHeaders = Object.fromEntries(Object.entries(headers).map(([name, bytes]) => [name, bytesJson(bytes)]))
      const event = decodedValue(plan, deadLetter)
      terminal.out(
        JSON.stringify({ ...rest, key: bytesJson(key), value: bytesJson(value), headers: shownHeaders, event }),
      )
    } else for (const line of linesOf(plan, deadLetter, location, appendedAtMs)) terminal.out(line)
    return exitCodes.done
  } finally {
    await broker.close()
  }
}

function linesOf(plan: Plan, deadLetter: DeadLetter, location: DeadLetterLocation, appendedAtMs: number): string[] {
  const { stage, key, keyBytes, value, valueBytes, headers, problems, attempt } = deadLetter
  const lay = deadLetter.partition < 0 ? `sent to ${deadLetter.topic}, never in Kafka` : originOf(deadLetter)
  return [
    `dead letter ${shownLocation(location)} of ${plan.rejected.topic}, written ${shownTime(appendedAtMs)}`,
    `  origin: ${lay}, ${shownTime(deadLetter.appendedAtMs)}`,
    `  rejected by: ${stage}${attempt > 0 ? `, requeued ${attempt === 1 ? 'once' : `${attempt} times`} before` : ''}`,
    'problems:',
    ...problems.map(({ path, code, expected, received }) => {
      return `  ${path === '' ? '(whole event)' : path} ${code}: expected ${expected}, received ${received}`
    }),
    `key: ${key === null ? 'none' : `${quoted(key)}${lengthNote(key, keyBytes)}`}`,
    ...Object.entries(headers).map(([name, bytes]) => `header ${name}: ${quoted(bytes)}`),
    value === null ? 'value: none' : `value: ${shown(valueBytes ?? value.length)} bytes${cutNote(deadLetter)}`,
    ...valueLines(plan, deadLetter).map((line) => `  ${line}`),
  ]
}

function lengthNote(held: Buffer, bytes: number | null): string {
  return bytes !== null && bytes > held.length ? `… (${shown(bytes)} bytes)` : ''
}

function cutNote(deadLetter: DeadLetter): string {
  if (!isValueCut(deadLetter)) return ''
  return `, of which the dead letter holds ${shown(deadLetter.value!.length)}; the rest is in the original record while that is retained`
}

function quoted(bytes: Buffer): string {
  const held = bytes.subarray(0, bytesShownMax)
  const text = held.toString('utf8')
  return Buffer.from(text).equals(held) ? JSON.stringify(text) : `0x${held.toString('hex')}`
}

function valueLines(plan: Plan, deadLetter: DeadLetter): string[] {
  const event = decodedValue(plan, deadLetter)
  if (event !== null) return JSON.stringify(event, null, 2).split('\n')
  return deadLetter.value === null ? [] : dump(deadLetter.value)
}

/** The value as JSON, valid or not; null where the bytes are neither JSON nor Avro of the stream. */
function decodedValue(plan: Plan, { topic, value }: DeadLetter): unknown {
  if (value === null) return null
  const stream = plan.streams.find((candidate) => candidate.topic === topic)
  try {
    if (!isSingleObject(value)) return JSON.parse(value.toString('utf8'))
    const schemas = (stream?.codec.schemas ?? new Map()) as ReadonlyMap<string, AvroSchema>
    return createSingleObjectCodec(schemas).decode(value)?.record ?? null
  } catch {
    // Cut or broken bytes: they are shown as they are.
    return null
  }
}

/** Sixteen bytes a line, in hexadecimal and as text. */
function dump(value: Buffer): string[] {
  const held = value.subarray(0, bytesShownMax)
  const lines = Array.from({ length: Math.ceil(held.length / 16) }, (_, i) => {
    const bytes = held.subarray(16 * i, 16 * i + 16)
    const text = bytes.toString('latin1').replaceAll(/[^\x20-\x7e]/g, '.')
    return `${(16 * i).toString(16).padStart(6, '0')}  ${bytes.toString('hex').replaceAll(/(..)/g, '$1 ').padEnd(48)} ${text}`
  })
  return value.length > held.length ? [...lines, `… ${shown(value.length - held.length)} bytes more`] : lines
}
