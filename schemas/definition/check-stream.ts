/** Mistakes of one stream: names, fields and their limits, roles, times. Called by `checkDefinition`. */

import { durationExpected, parseDuration } from '../kernel/duration.ts'
import type { FieldKind } from '../kernel/event.ts'
import { either, isRecord, type Parts, type Report } from '../kernel/report.ts'
import { checkKeys, checkStray } from '../kernel/stray-options.ts'
import { type AnyStream, type FieldSpec, fieldOptions, instantsOptions, streamOptions } from './definition.ts'
import { identifierExpected, isIdentifier } from './definition-problem.ts'
import { instantExpected, instantsDefault, parseLimit } from './instants.ts'

const streamName = /^[A-Za-z_][A-Za-z0-9._-]{0,127}$/
const topicName = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/
const deadLettersExpected = 'letters, digits, dots, dashes and underscores'
const decimalsMax = 9
const lengthLimit = 65_536
const eventBytesMax = 900_000

const kinds = Object.keys(fieldOptions) as FieldKind[]

export function checkStream(stream: AnyStream, report: Report): void {
  const path = `streams.${stream.name}`
  if (!matches(streamName, stream.name))
    report(path, `a name of ${deadLettersExpected} that begins with a letter, at most 128`, stream.name)
  if (!matches(topicName, stream.topic))
    report(
      `${path}.topic`,
      `a topic of ${deadLettersExpected} that begins with a letter or digit, at most 128`,
      stream.topic,
    )
  checkStray(path, 'stream()', streamOptions, stream.stray, report)
  checkTimes(path, stream, report)
  checkInstants(path, stream, report)
  if (typeof stream.rekey !== 'boolean') report(`${path}.rekey`, 'true or false', stream.rekey)
  if (!isRecord(stream.specs)) {
    report(`${path}.fields`, 'the fields of the stream by name', stream.specs)
    return
  }
  for (const [name, spec] of Object.entries(stream.specs)) checkField(`${path}.fields.${name}`, name, spec, report)
  checkSize(path, stream, report)
  checkRole(path, 'id', 'text', stream, report)
  checkRole(path, 'key', 'text', stream, report)
  checkRole(path, 'time', 'timestamp', stream, report)
}

/**
 * An event travels in one record, beside its key, slots and positions; brokers take 1,048,588 bytes. A UTF-16 unit takes at most three
 * bytes, anything but text at most ten.
 */
function checkSize(path: string, stream: AnyStream, report: Report): void {
  const texts = Object.values(stream.specs).map((spec) => (isRecord(spec) ? 3 * (Number(spec.lengthMax) || 0) + 16 : 0))
  const bytes = texts.reduce((sum, size) => sum + size, 0) + Math.max(0, ...texts)
  if (bytes <= eventBytesMax) return
  const expected = `texts so short that an event and its key take at most ${eventBytesMax} bytes, three for each of lengthMax`
  report(`${path}.fields`, expected, `${bytes} bytes`)
}

/** `RegExp.test` alone would take `undefined` for a name of nine letters. */
function matches(pattern: RegExp, name: unknown): boolean {
  return typeof name === 'string' && pattern.test(name)
}

function checkTimes(path: string, stream: AnyStream, report: Report): void {
  for (const role of ['disorder', 'lateness', 'ahead'] as const) {
    if (parseDuration(stream[role]) === null) report(`${path}.${role}`, durationExpected, stream[role])
  }
  const disorderMs = parseDuration(stream.disorder)
  const latenessMs = parseDuration(stream.lateness)
  if (disorderMs !== null && latenessMs !== null && disorderMs > latenessMs)
    report(`${path}.disorder`, `at most lateness (${stream.lateness})`, stream.disorder)
}

function checkInstants(path: string, stream: AnyStream, report: Report): void {
  const instants: unknown = stream.instants
  if (!isRecord(instants)) {
    report(`${path}.instants`, '{ from, until }, each where wanted', instants)
    return
  }
  checkKeys(`${path}.instants`, 'instants', instantsOptions, instants, report)
  checkRange(`${path}.instants`, { ...instantsDefault, ...instants }, report)
  for (const [name, spec] of Object.entries(isRecord(stream.specs) ? stream.specs : {})) {
    if (!isRecord(spec) || spec.kind !== 'timestamp' || (spec.from === undefined && spec.until === undefined)) continue
    checkRange(`${path}.fields.${name}`, { ...instantsDefault, ...instants, ...defined(spec) }, report)
  }
}

function checkRange(path: string, { from, until }: { from?: unknown; until?: unknown }, report: Report): void {
  const [first, end] = [parseLimit(from), parseLimit(until)]
  if (first === null) report(`${path}.from`, instantExpected, from)
  if (end === null) report(`${path}.until`, instantExpected, until)
  if (first !== null && end !== null && first >= end) report(`${path}.from`, `earlier than until (${until})`, from)
}

function defined({ from, until }: Parts): Parts {
  return { ...(from === undefined ? {} : { from }), ...(until === undefined ? {} : { until }) }
}

function checkField(path: string, name: string, spec: FieldSpec, report: Report): void {
  if (!isIdentifier(name)) report(path, identifierExpected, name)
  if (!isRecord(spec) || !kinds.includes(spec.kind)) {
    report(path, either(kinds.map((kind) => `${kind}()`)), spec)
    return
  }
  const options = fieldOptions[spec.kind]
  const { kind, stray, ...given } = spec
  checkKeys(path, `${kind}()`, options, given, report)
  checkStray(path, `${kind}()`, options, stray, report)
  checkLimits(path, spec, options, report)
}

function checkLimits(path: string, spec: FieldSpec, options: readonly string[], report: Report): void {
  const { optional, min, max, decimals, lengthMax } = spec
  if (typeof optional !== 'boolean') report(`${path}.optional`, 'true or false', optional)
  if (options.includes('min') && min !== undefined && !Number.isFinite(min))
    report(`${path}.min`, 'a finite number', min)
  if (options.includes('max') && max !== undefined && !Number.isFinite(max))
    report(`${path}.max`, 'a finite number', max)
  if (options.includes('min') && min !== undefined && max !== undefined && min > max)
    report(`${path}.min`, `<= max (${max})`, min)
  if (isEmpty(spec)) report(path, 'a range that holds a value', rangeText(spec))
  if (options.includes('decimals') && decimals !== undefined && !isWholeWithin(decimals, 0, decimalsMax))
    report(`${path}.decimals`, `a whole number from 0 to ${decimalsMax}`, decimals)
  if (options.includes('lengthMax') && !isWholeWithin(lengthMax, 1, lengthLimit))
    report(`${path}.lengthMax`, `a whole number from 1 to ${lengthLimit}`, lengthMax)
}

/** Between sound limits lies no number of so many decimals: no event could be valid. */
function isEmpty({
  kind,
  min = Number.NEGATIVE_INFINITY,
  max = Number.POSITIVE_INFINITY,
  decimals,
}: FieldSpec): boolean {
  const scale = kind === 'integer' ? 1 : isWholeWithin(decimals, 0, decimalsMax) ? 10 ** decimals! : null
  if (scale === null || !(min <= max)) return false
  const [from, to] = [Math.max(min * scale, -Number.MAX_SAFE_INTEGER), Math.min(max * scale, Number.MAX_SAFE_INTEGER)]
  // A limit of so many decimals is seldom exact in binary: 1.1 * 10 is above 11.
  return Math.ceil(from - Math.abs(from) * Number.EPSILON) > to + Math.abs(to) * Number.EPSILON
}

function rangeText({ min, max, decimals }: FieldSpec): string {
  return Object.entries({ min, max, decimals })
    .filter(([, limit]) => limit !== undefined)
    .map((limit) => limit.join(' '))
    .join(', ')
}

function isWholeWithin(value: number | undefined, min: number, max: number): boolean {
  return value !== undefined && Number.isInteger(value) && value >= min && value <= max
}

function checkRole(
  path: string,
  role: 'id' | 'key' | 'time',
  kind: 'text' | 'timestamp',
  stream: AnyStream,
  report: Report,
): void {
  const name = stream[role]
  const spec = Object.hasOwn(stream.specs, name) ? stream.specs[name] : undefined
  if (!isRecord(spec)) report(`${path}.${role}`, `the name of a ${kind} field`, name)
  else if (spec.kind !== kind) report(`${path}.${role}`, `a ${kind} field`, `${name}, which is ${spec.kind}`)
  else if (spec.optional) report(`${path}.${role}`, 'a field that is never missing', `${name}, which is optional`)
}
