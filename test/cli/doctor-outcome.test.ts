/** The doctor's lines about what comes out of a pipeline: events rejected or out of order, predictions without scores. */
import { describe, expect, test } from 'vitest'
import { orderCheck } from '../../cli/doctor/order.ts'
import { type RecentEvents, rejectedCheck } from '../../cli/doctor/rejected.ts'
import { type RecentPrediction, scoresCheck } from '../../cli/doctor/scores.ts'
import type { FittingPlan } from '../../online-model/models/fits.ts'
import { emptyRegistry, type RegistryState } from '../../online-model/registry/registry.ts'
import { noDisorder } from '../../processors/position.ts'
import type { RejectCode } from '../../schemas/kernel/event.ts'
import type { AliasChange, ModelVersion } from '../../schemas/wire/records.ts'

const definition = 'pipelines/shop.ts'

describe('rejected events', () => {
  const rejections = (count: number, code: RejectCode, stage = 'user'): RecentEvents['rejected'] =>
    Array.from({ length: count }, () => {
      return {
        stage,
        problems: [
          { path: '/features/ratio', code, expected: 'a function that does not throw', received: 'Error: no' },
        ],
      }
    })
  const check = (events: number, rejected: RecentEvents['rejected']) =>
    rejectedCheck('rejected orders', { events, rejected }, definition)

  test('none, or hardly any, are well', () => {
    expect(check(0, [])).toMatchObject({ status: 'ok', message: 'no event was processed yet.' })
    expect(check(300, [])).toMatchObject({ status: 'ok', message: 'none of the last 300 events was rejected.' })
    expect(check(300, rejections(2, 'late'))).toMatchObject({ status: 'ok' })
  })

  test('a part of them is a warning, half of them a failure, with counts, the commonest reason and what to do', () => {
    expect(check(300, rejections(3, 'range'))).toMatchObject({ status: 'warn' })
    expect(check(300, rejections(149, 'range'))).toMatchObject({ status: 'warn' })
    expect(check(300, rejections(300, 'range'))).toMatchObject({
      status: 'fail',
      remedy: expect.stringContaining('the producer'),
    })
    expect(check(100, [...rejections(9, 'late'), ...rejections(50, 'function_threw', 'page')])).toEqual({
      name: 'rejected orders',
      status: 'fail',
      message:
        '59 of the last 100 events were rejected (59 %): 50 function_threw, 9 late. For example page: /features/ratio expected a function ' +
        'that does not throw, received Error: no.',
      remedy: `Mend that function of the definition, then requeue them: millrace rejected list ${definition}`,
    })
  })
})

describe('scores', () => {
  const nowMs = 1_700_000_000_000
  const plan: FittingPlan = {
    fingerprint: 'f1',
    features: [{ name: 'amount', identity: 'same' }],
    model: { kind: 'logistic', l2: 1 },
  }
  const seen = { plan, nowMs, definition }
  const withChampion = (fingerprint = 'f1', identity = 'another'): RegistryState => {
    const version: ModelVersion = {
      kind: 'version',
      version: 'v1',
      createdAtMs: nowMs - 3_600_000,
      fingerprint,
      identities: { amount: identity },
      seed: 0,
      model: { kind: 'logistic', features: ['amount'], means: [0], scales: [1], weights: [1], intercept: 0 },
      metrics: {},
      trainedOn: [],
      parent: null,
      origin: 'manual',
    }
    const change = { alias: 'champion', version: 'v1', previous: null, changedAtMs: nowMs - 3_600_000 } as AliasChange
    return {
      ...emptyRegistry(),
      versions: new Map([['v1', version]]),
      aliases: new Map([['champion', 'v1']]),
      history: [change],
    }
  }
  const recent = (
    count: number,
    score: number | null,
    modelVersion: string | null,
    ageMs = 1_000,
  ): RecentPrediction[] => Array.from({ length: count }, () => ({ appendedAtMs: nowMs - ageMs, modelVersion, score }))
  const check = (
    predictions: readonly RecentPrediction[],
    state: RegistryState,
    sinceMs: number | null = nowMs - 7_200_000,
  ) => scoresCheck({ predictions, sinceMs }, state, seen)

  test('that come are well, and so is a pipeline that has predicted nothing yet', () => {
    expect(check(recent(20, 0.5, 'v1'), withChampion())).toMatchObject({
      status: 'ok',
      message: 'the last 20 predictions carry a score.',
    })
    expect(check([], withChampion(), null)).toMatchObject({ status: 'ok' })
    // Before the champion was promoted there was nothing to score with.
    expect(check(recent(20, null, null, 3_700_000), withChampion())).toMatchObject({ status: 'ok' })
  })

  test('that a champion does not give are a failure: nothing, or no number', () => {
    expect(check(recent(20, null, null), withChampion())).toMatchObject({
      status: 'fail',
      message: '20 of the last 20 predictions carry no score although v1 is the champion.',
      remedy: expect.stringContaining('restart'),
    })
    expect(check([...recent(10, 0.5, 'v1'), ...recent(10, null, 'v1')], withChampion())).toMatchObject({
      status: 'fail',
      message:
        '10 of the last 20 predictions carry no score although v1 is the champion: v1 gave no number for 10 of them.',
      remedy: expect.stringContaining('models rollback'),
    })
    expect(check([...recent(19, 0.5, 'v1'), ...recent(1, null, 'v1')], withChampion())).toMatchObject({
      status: 'warn',
    })
  })

  test('that no champion gives for long are a warning', () => {
    const state = emptyRegistry()
    expect(check(recent(20, null, null), state)).toMatchObject({ status: 'ok' })
    expect(check(recent(20, null, null), state, nowMs - 3 * 86_400_000)).toMatchObject({
      status: 'warn',
      message:
        'there is no champion that fits this definition, so none of its predictions is scored, and the first is 3 days old.',
    })
    expect(check(recent(20, null, null), withChampion('f0'), nowMs - 3 * 86_400_000)).toMatchObject({ status: 'warn' })
  })

  test('of a champion of an earlier definition, whose features this one has, are judged like those of its own', () => {
    expect(check(recent(20, 0.5, 'v1'), withChampion('f0', 'same'))).toMatchObject({
      status: 'ok',
      message: 'the last 20 predictions carry a score.',
    })
    expect(check(recent(20, null, null), withChampion('f0', 'same'))).toMatchObject({ status: 'fail' })
  })
})

test('events released early, and many late ones, are warnings; a few late ones are not', () => {
  const check = (late: number, early: number) =>
    orderCheck('order user', { ...noDisorder, late, early, read: 1_000 }, definition)
  expect(check(0, 0)).toMatchObject({ status: 'ok' })
  expect(check(9, 0)).toMatchObject({ status: 'ok' })
  expect(check(400, 0)).toMatchObject({ status: 'warn', remedy: expect.stringContaining('docs/producing.md') })
  expect(check(0, 1)).toMatchObject({ status: 'warn', remedy: expect.stringContaining('MILLRACE_HOLD_MAX_MS') })
})
