import { describe, expect, test } from 'vitest'
import {
  aliasesOf,
  applyRegistryRecord,
  challengers,
  champion,
  emptyRegistry,
  foldRegistry,
  freeChallengerAlias,
  historyMax,
  isRolledBack,
  lastChange,
  lastRejection,
  nextVersionName,
  notesMax,
  rollbackTarget,
} from '../../online-model/registry/registry.ts'
import type { AliasChange, ModelVersion, VersionNote } from '../../schemas/wire/records.ts'

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
    parent: null,
    origin: 'manual',
  }
}

function alias(to: string | null, previous: string | null, name = 'champion'): AliasChange {
  return {
    kind: 'alias',
    alias: name,
    version: to,
    previous,
    changedAtMs: 2,
    by: 'test',
    reason: 'because',
    action: 'set',
  }
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

  test('an alias moves only from the version it points to, and only to one that exists', () => {
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

  describe('challengers', () => {
    const three = [version('v1'), version('v2'), version('v3'), alias('v1', null)]

    test('are what their aliases point to, in the order of the aliases; the champion is none of them', () => {
      const state = foldRegistry(emptyRegistry(), [
        ...three,
        alias('v3', null, 'challenger-1'),
        alias('v2', null, 'challenger-3'),
      ])
      expect(challengers(state).map((one) => one.version)).toEqual(['v3', 'v2'])
      expect(freeChallengerAlias(state)).toBe('challenger-2')
      const promoted = applyRegistryRecord(state, alias('v3', 'v1'))
      expect(challengers(promoted).map((one) => one.version)).toEqual(['v2'])
      expect(freeChallengerAlias(promoted)).toBe('challenger-1')
      expect(aliasesOf(promoted, 'v3')).toEqual(['champion', 'challenger-1'])
    })

    test('are taken away by a change to nothing, which the champion never is', () => {
      const state = foldRegistry(emptyRegistry(), [...three, alias('v2', null, 'challenger-1')])
      const gone = applyRegistryRecord(state, alias(null, 'v2', 'challenger-1'))
      expect(challengers(gone)).toEqual([])
      expect(lastChange(gone, 'challenger-1')).toEqual(alias(null, 'v2', 'challenger-1'))
      // And may be set again, from nothing.
      expect(challengers(applyRegistryRecord(gone, alias('v3', null, 'challenger-1')))).toEqual([version('v3')])
      const still = applyRegistryRecord(state, alias(null, 'v1'))
      expect(champion(still)?.version).toBe('v1')
      expect(still.ignoredAliases).toBe(1)
    })
  })

  describe('a rollback', () => {
    const three = [version('v1'), version('v2'), version('v3'), alias('v1', null), alias('v2', 'v1'), alias('v3', 'v2')]
    const isOf = (fingerprint: string) => (one: ModelVersion) => one.fingerprint === fingerprint
    const back = (to: string, from: string): AliasChange => ({ ...alias(to, from), action: 'rollback' })

    test('moves to the previous champion each time, skipping those that were rolled back', () => {
      const state = foldRegistry(emptyRegistry(), three)
      expect(rollbackTarget(state, isOf('f'))?.version).toBe('v2')
      const once = applyRegistryRecord(state, back('v2', 'v3'))
      expect(champion(once)?.version).toBe('v2')
      expect([isRolledBack(once, 'v3'), isRolledBack(once, 'v2')]).toEqual([true, false])
      expect(rollbackTarget(once, isOf('f'))?.version).toBe('v1')
      const twice = applyRegistryRecord(once, back('v1', 'v2'))
      expect(champion(twice)?.version).toBe('v1')
      expect(rollbackTarget(twice, isOf('f'))).toBeNull()
      // After the next promotion, v1 is the one before.
      const four = foldRegistry(twice, [version('v4'), alias('v4', 'v1')])
      expect(rollbackTarget(four, isOf('f'))?.version).toBe('v1')
    })

    test('moves to a version of this definition only, where one is named', () => {
      const other = { ...version('v2'), fingerprint: 'other' }
      const state = foldRegistry(emptyRegistry(), [version('v1'), other, version('v3'), ...three.slice(3)])
      expect(rollbackTarget(state, isOf('f'))?.version).toBe('v1')
      expect(rollbackTarget(state, () => true)?.version).toBe('v2')
      expect(rollbackTarget(state, isOf('none'))).toBeNull()
    })

    test('is undone by a restore only, also for readers that have not seen it', () => {
      const state = foldRegistry(emptyRegistry(), [...three, back('v2', 'v3')])
      const stale = applyRegistryRecord(state, alias('v3', 'v2'))
      expect(champion(stale)?.version).toBe('v2')
      expect(stale.ignoredAliases).toBe(1)
      const restored = applyRegistryRecord(state, { ...alias('v3', 'v2'), action: 'restore' })
      expect(champion(restored)?.version).toBe('v3')
      expect(isRolledBack(restored, 'v3')).toBe(false)
      // Rolled back for the second time, it is marked for the second time.
      expect(isRolledBack(applyRegistryRecord(restored, back('v2', 'v3')), 'v3')).toBe(true)
    })

    test('that lost against another change marks nothing', () => {
      const state = foldRegistry(emptyRegistry(), [...three, version('v4'), alias('v4', 'v3'), back('v2', 'v3')])
      expect(champion(state)?.version).toBe('v4')
      expect(isRolledBack(state, 'v3')).toBe(false)
    })

    test('is no change of another alias than the champion', () => {
      const state = foldRegistry(emptyRegistry(), [...three, alias('v1', null, 'challenger-1')])
      const after = applyRegistryRecord(state, { ...alias('v2', 'v1', 'challenger-1'), action: 'rollback' })
      expect(after.ignoredAliases).toBe(1)
      expect(isRolledBack(after, 'v1')).toBe(false)
    })
  })

  test('notes are kept by version, the newest of them, and those of unknown versions are counted', () => {
    const note = (reason: string, more: Partial<VersionNote> = {}): VersionNote => ({
      kind: 'note',
      note: 'refused',
      version: 'v1',
      against: null,
      notedAtMs: 3,
      by: 'test',
      reason,
      figures: { difference: -0.1 },
      ...more,
    })
    const many = Array.from({ length: notesMax + 3 }, (_, i) => note(`${i}`))
    const state = foldRegistry(emptyRegistry(), [version('v1'), ...many, note('x', { version: 'v9' })])
    expect(state.notes.get('v1')).toEqual(many.slice(3))
    expect(state.ignoredNotes).toBe(1)
    expect(lastRejection(state, 'v1')?.reason).toBe(`${notesMax + 2}`)
    // Of a kind that is not known, the text is kept and nothing else follows.
    const after = applyRegistryRecord(state, note('later', { note: 'praised' }))
    expect(lastRejection(after, 'v1')?.reason).toBe(`${notesMax + 2}`)
    expect(champion(after)).toBeNull()
  })
})
