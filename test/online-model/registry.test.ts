import { describe, expect, test } from 'vitest'
import {
  applyRegistryRecord,
  champion,
  emptyRegistry,
  foldRegistry,
  historyMax,
  nextVersionName,
} from '../../online-model/registry.ts'
import type { AliasChange, ModelVersion } from '../../schemas/plan.ts'

function version(name: string, intercept = 0): ModelVersion {
  return {
    kind: 'version',
    version: name,
    createdAtMs: 1,
    fingerprint: 'f',
    seed: 1,
    model: { kind: 'logistic', features: [], means: [], scales: [], weights: [], intercept },
    metrics: {},
    trainedOn: [],
  }
}

function alias(to: string, previous: string | null, name = 'champion'): AliasChange {
  return { kind: 'alias', alias: name, version: to, previous, changedAtMs: 2, by: 'test', reason: 'because' }
}

describe('registry', () => {
  test('the champion is what the alias points to', () => {
    const one = foldRegistry(emptyRegistry(), [version('v1'), version('v2')])
    expect(champion(one)).toBeNull()
    const two = applyRegistryRecord(one, alias('v1', null))
    expect(champion(two)).toEqual(version('v1'))
    const three = applyRegistryRecord(two, alias('v2', 'v1'))
    expect(champion(three)?.version).toBe('v2')
    expect(three.history).toEqual([alias('v1', null), alias('v2', 'v1')])
    // A rollback is a change like any other.
    expect(champion(applyRegistryRecord(three, alias('v1', 'v2')))?.version).toBe('v1')
  })

  test('a version never changes: the second of a name is ignored and counted', () => {
    const state = foldRegistry(emptyRegistry(), [version('v1', 0.5), version('v1', 9)])
    expect(state.versions.get('v1')?.model).toMatchObject({ intercept: 0.5 })
    expect(state).toMatchObject({ ignoredVersions: 1, ignoredAliases: 0 })
  })

  test('an alias moves only from the version it stands at, and only to one that exists', () => {
    const state = foldRegistry(emptyRegistry(), [version('v1'), version('v2'), version('v3'), alias('v1', null)])
    for (const refused of [alias('v2', null), alias('v3', 'v2'), alias('v9', 'v1')]) {
      const after = applyRegistryRecord(state, refused)
      expect(champion(after)?.version).toBe('v1')
      expect(after).toMatchObject({ ignoredAliases: 1, history: [alias('v1', null)] })
    }
  })

  test('of two changes from the same version the first in the topic wins', () => {
    const state = foldRegistry(emptyRegistry(), [
      version('v1'),
      alias('v1', null),
      version('v2'),
      version('v3'),
      alias('v3', 'v1'),
      alias('v2', 'v1'),
    ])
    expect(champion(state)?.version).toBe('v3')
    expect(state.ignoredAliases).toBe(1)
  })

  test('aliases are independent of each other', () => {
    const state = foldRegistry(emptyRegistry(), [version('v1'), alias('v1', null, 'challenger')])
    expect(champion(state)).toBeNull()
    expect(state.aliases).toEqual(new Map([['challenger', 'v1']]))
  })

  test('folding leaves the former state as it was, and at once or one by one is the same', () => {
    const records = [version('v1'), alias('v1', null), version('v1'), alias('v2', 'v1')]
    const before = emptyRegistry()
    const state = foldRegistry(before, records)
    expect(before).toEqual(emptyRegistry())
    expect(records.reduce(applyRegistryRecord, emptyRegistry())).toEqual(state)
    expect(foldRegistry(state, [])).toBe(state)
  })

  test('the history in memory is bounded to the newest changes', () => {
    const flips = Array.from({ length: historyMax + 5 }, (_, i) =>
      i === 0 ? alias('v1', null) : alias(i % 2 === 0 ? 'v1' : 'v2', i % 2 === 0 ? 'v2' : 'v1'),
    )
    const state = foldRegistry(emptyRegistry(), [version('v1'), version('v2'), ...flips])
    expect(state.ignoredAliases).toBe(0)
    expect(state.history).toEqual(flips.slice(5))
  })

  test('the next version name is free', () => {
    expect(nextVersionName(emptyRegistry())).toBe('v1')
    expect(nextVersionName(foldRegistry(emptyRegistry(), [version('v1'), version('v2')]))).toBe('v3')
    expect(nextVersionName(foldRegistry(emptyRegistry(), [version('v2')]))).toBe('v3')
  })
})
