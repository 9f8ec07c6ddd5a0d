/** Step 5 of the trainer: when it evaluates, when it takes a snapshot, and when it rolls the champion back. */
import { describe, expect, test } from 'vitest'
import { isRolledBack } from '../../../online-model/registry/registry.ts'
import { evaluateIfDue, snapshotIfDue } from '../../../online-model/trainer/evaluate.ts'
import { defaultTrainerLimits, type TrainerState } from '../../../online-model/trainer/state.ts'
import type { MatureRows } from '../../../online-model/training-store/store.ts'
import { hourMs, rowsOf, trainerFixture, weightsOf } from './trainer-fixture.ts'

async function publish({ registry, plan, seed }: TrainerState, slope: number): Promise<string> {
  const { version } = await registry.publish({
    fingerprint: plan.fingerprint,
    seed,
    model: weightsOf(slope),
    origin: 'manual',
    parent: null,
    metrics: {},
    trainedOn: [],
  })
  await registry.promote(version, { by: 'a test', reason: 'it is the newest' })
  return version
}

function fixtureWith(rows: () => MatureRows) {
  const roles: string[] = []
  let reads = 0
  const fixture = trainerFixture({
    rows: async () => {
      reads++
      return rows()
    },
    saveQuality: async (role) => {
      roles.push(role)
    },
  })
  return { ...fixture, roles, reads: () => reads }
}

describe('an evaluation', () => {
  test('is due with new rows and after its interval only', async () => {
    const { state, progress, clock, roles, reads } = fixtureWith(() => rowsOf(100))
    await evaluateIfDue(state)
    expect([reads(), state.evaluation]).toEqual([0, null])
    progress.maturedSeq = 100
    progress.maturedUntilMs = 100 * hourMs
    await evaluateIfDue(state)
    expect(state.evaluation!.served.groups[0]!.quality).toMatchObject({ rows: 100, positives: 25 })
    expect(roles).toEqual(['champion'])
    progress.maturedSeq = 101
    await evaluateIfDue(state)
    expect(reads()).toBe(1)
    clock.ms = defaultTrainerLimits.evaluateEveryMs
    await evaluateIfDue(state)
    await evaluateIfDue(state)
    expect(reads()).toBe(2)
  })

  test('rolls back a champion whose predecessor scores the same rows better in shadow', async () => {
    const right = (row: number) => (row % 4 === 0 ? 0.9 : 0.1)
    const rows = () => {
      const all = Array.from({ length: 400 }, (_, row) => row)
      return rowsOf(400, {
        versions: all.map(() => 'v2'),
        scores: Float64Array.from(all, (row) => 1 - right(row)),
        shadows: all.map((row) => [{ version: 'v1', score: right(row) }]),
      })
    }
    const { state, progress, metric, roles } = fixtureWith(rows)
    await publish(state, 1)
    await publish(state, -1)
    progress.maturedSeq = 400
    progress.maturedUntilMs = 400 * hourMs
    await evaluateIfDue(state)
    expect(roles).toEqual(['champion', 'challenger'])
    expect(isRolledBack(state.registry.state(), 'v2')).toBe(true)
    expect(state.registry.state().aliases.get('champion')).toBe('v1')
    expect(await metric('millrace_trainer_rollbacks_total{accepted="true"}')).toBe(1)
  })

  test('leaves a champion that nothing can be compared with', async () => {
    const { state, progress } = fixtureWith(() => rowsOf(400))
    await publish(state, 1)
    progress.maturedSeq = 400
    progress.maturedUntilMs = 400 * hourMs
    await evaluateIfDue(state)
    expect(state.registry.state().aliases.get('champion')).toBe('v1')
  })
})

test('a snapshot is due with new rows and after its interval only', async () => {
  const written: string[] = []
  const { state, progress, clock } = trainerFixture(
    {
      snapshot: async (file) => {
        written.push(file)
      },
    },
    { snapshotFile: 'copy.duckdb' },
  )
  await snapshotIfDue(state)
  expect(written).toEqual([])
  progress.maturedSeq = 5
  await snapshotIfDue(state)
  progress.maturedSeq = 6
  await snapshotIfDue(state)
  expect(written).toEqual(['copy.duckdb'])
  clock.ms = defaultTrainerLimits.snapshotEveryMs
  await snapshotIfDue(state)
  expect(written).toHaveLength(2)
})
