/**
 * Mistakes of entities and aggregates: keys, windows, times, and the way of a stream's events to where they count. Called by
 * `checkDefinition`.
 */

import { durationExpected, parseDuration } from '../kernel/duration.ts'
import type { FieldKind } from '../kernel/event.ts'
import { either, type Report } from '../kernel/report.ts'
import { checkStray } from '../kernel/stray-options.ts'
import { type Aggregate, aggregateKinds, windowOptions } from './aggregates.ts'
import { fieldName, identifierExpected, isEntity, isField, isIdentifier, isStream } from './definition-problem.ts'
import type { Entity } from './entity.ts'
import { inStageOrder, keyOf, type ReachedAggregates, stageEntered } from './reach.ts'
import { slotIdentity, slotName } from './slot-name.ts'
import type { AnyStream, FieldRef } from './stream.ts'

/** Of fields that hold numbers: an instant is one. */
const numericKinds: readonly FieldKind[] = ['number', 'integer', 'timestamp']

export function checkEntity(entity: Entity, scored: AnyStream, report: Report): void {
  const path = `entities.${entity.name}`
  if (!isIdentifier(entity.name)) report(path, identifierExpected, entity.name)
  const keyed = new Set<AnyStream>()
  for (const [i, key] of entity.keys.entries()) {
    if (!isField(key) || !isStream(key.stream)) {
      report(`${path}.keys[${i}]`, 'a text field of a stream', key)
      continue
    }
    if (keyed.has(key.stream)) report(path, 'one key field a stream', `two of ${key.stream.name}`)
    keyed.add(key.stream)
    if (!isDeclared(key)) report(`${path}.keys[${i}]`, `a field of ${key.stream.name}`, key)
    else if (key.spec?.kind !== 'text' || key.spec.optional)
      report(path, 'text fields that are never missing', fieldName(key))
  }
  const names = [...keyed].map((stream) => stream.name)
  if (isStream(scored) && !keyed.has(scored))
    report(path, `a key field of the scored stream ${scored.name}`, names.length > 0 ? names.join(', ') : 'no key')
}

/** A field that was not taken from its stream's `fields`, but made by hand. */
export function isDeclared(field: FieldRef): boolean {
  return Object.hasOwn(field.stream.specs ?? {}, field.name) && field.stream.specs[field.name] === field.spec
}

export function checkAggregate(path: string, aggregate: Aggregate, report: Report): void {
  const { of, stream, field, by, over, lag, at } = aggregate
  if (!Object.hasOwn(aggregateKinds, of)) {
    report(path, `an aggregate: ${either(Object.keys(aggregateKinds))}`, of)
  } else if (aggregateKinds[of].of === 'facts') {
    if (!isStream(stream)) report(`${path}.stream`, 'a stream', stream)
  } else if (!isField(field) || !isStream(field.stream)) {
    report(`${path}.field`, 'a number, integer or timestamp field of a stream', field)
  } else if (!isDeclared(field)) {
    report(`${path}.field`, `a field of ${field.stream.name}`, field)
  } else if (!numericKinds.includes(field.spec?.kind)) {
    report(path, 'a number, integer or timestamp field', `${field.name}, which is ${field.spec?.kind}`)
  }
  checkStray(path, `${String(of)}()`, windowOptions, aggregate.stray, report)
  const overMs = parseDuration(over)
  if (overMs === null || overMs === 0) report(`${path}.over`, `${durationExpected}, more than 0`, over)
  if (parseDuration(lag) === null) report(`${path}.lag`, durationExpected, lag)
  if (!isEntity(by)) report(`${path}.by`, 'an entity', by)
  if (!isStream(stream)) return
  if (isEntity(by) && keyOf(by, stream) === undefined)
    report(`${path}.by`, `an entity with a key field of ${stream.name}`, by.name)
  if (at !== null && !isTimestampOf(stream, at))
    report(`${path}.at`, `a timestamp field of ${stream.name} that is never missing`, isField(at) ? fieldName(at) : at)
}

function isTimestampOf(stream: AnyStream, at: unknown): boolean {
  return (
    isField(at) && at.stream === stream && isDeclared(at) && at.spec?.kind === 'timestamp' && at.spec.optional === false
  )
}

/** All facts of a stream in one entity's log are dated by the same field. */
export function checkFactTimes(aggregates: ReachedAggregates, report: Report): void {
  const timeFields = new Map<string, string>()
  for (const { path, aggregate } of aggregates) {
    const { by, stream } = aggregate
    if (!isEntity(by) || !isStream(stream) || aggregate.at === undefined) continue
    const at = aggregate.at?.name ?? stream.time
    const where = `${by.name}/${stream.name}`
    const other = timeFields.get(where)
    if (other !== undefined && other !== at)
      report(`${path}.at`, `${other}, as in the other aggregates of ${stream.name} by ${by.name}`, at)
    timeFields.set(where, other ?? at)
  }
}

/** A stream must enter no later than the first stage that it leaves facts in; one that is repartitioned passes through all of them. */
export function checkRoutes(
  scored: AnyStream,
  entities: readonly Entity[],
  aggregates: ReachedAggregates,
  report: Report,
): void {
  const inOrder = inStageOrder(scored, entities)
  const earliest = new Map<AnyStream, number>()
  for (const { stream, by } of aggregates.map(({ aggregate }) => aggregate)) {
    const stage = inOrder.indexOf(by)
    if (stage === -1 || !isStream(stream) || stream.rekey || keyOf(by, stream) === undefined) continue
    earliest.set(stream, Math.min(stage, earliest.get(stream) ?? stage))
  }
  for (const [stream, stage] of earliest) {
    const entered = stageEntered(stream, inOrder)
    if (entered !== -1 && entered <= stage) continue
    const names = inOrder.slice(0, stage + 1).map((entity) => entity.name)
    report(`streams.${stream.name}.key`, `the key field of ${either(names)}`, stream.key)
  }
}

/** Names are joined with underscores, so that different ones may come out alike; only for aggregates that are sound otherwise. */
export function checkSlotNames(aggregates: ReachedAggregates, report: Report): void {
  const identities = new Map<string, string>()
  for (const { path, aggregate } of aggregates) {
    const [name, identity] = [slotName(aggregate), slotIdentity(aggregate)]
    const other = identities.get(name) ?? identity
    if (other !== identity)
      report(
        path,
        'a name that no other aggregate comes to (rename an entity, stream or field)',
        `${name}, as ${other}`,
      )
    identities.set(name, other)
  }
}
