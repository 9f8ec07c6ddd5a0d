/** Step 4 of the trainer: when a retraining starts and what becomes of its outcome. */
import { expect, test } from 'vitest'
import { retrain } from '../../../online-model/trainer/retrain.ts'
import { loadSchedule, type TrainerOptions } from '../../../online-model/trainer/state.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'
import { hourMs, rowsOf, trainerFixture, weightsOf } from './trainer-fixture.ts'

const { signal: never } = new AbortController()

/** 1,000 mature rows, and a retraining that is due. */
function due(fit: TrainerOptions['fit'], options: Partial<TrainerOptions> = {}) {
  const fixture = trainerFixture({ rows: async () => rowsOf(1_000) }, { fit, ...options })
  fixture.progress.maturedSeq = 1_000
  fixture.progress.maturedUntilMs = 1_000 * hourMs
  fixture.state.schedule = { publishedMs: null, retrainedMs: hourMs, retrainedRows: 0 }
  return fixture
}

test('does not start without mature rows, nor before it is due', async () => {
  const { state, progress } = trainerFixture()
  state.requestedBy = 'a test'
  await retrain(state, never)
  expect(state.retraining).toBeNull()
  // The request waits for rows.
  expect(state.requestedBy).toBe('a test')
  state.requestedBy = null
  progress.maturedSeq = 999
  progress.maturedUntilMs = 999 * hourMs
  state.schedule = { publishedMs: null, retrainedMs: hourMs, retrainedRows: 0 }
  await retrain(state, never)
  expect(state.retraining).toBeNull()
})

test('becomes a candidate in a later turn, and moves the schedule to where it began', async () => {
  const { state, progress, clock, metric } = due(async () => ({ weights: weightsOf(8), note: 'fitted' }))
  await retrain(state, never)
  expect(state.retraining!.reason).toBe('1000 rows have matured since the last one')
  progress.maturedSeq = 1_100
  clock.ms = 2_000
  await state.retraining!.done
  expect(state.registry.state().versions.size).toBe(0)
  await retrain(state, never)
  expect(state.retraining).toBeNull()
  expect(state.schedule.retrainedRows).toBe(1_000)
  const [version] = [...state.registry.state().versions.values()]
  expect(version).toMatchObject({ origin: 'retrain', parent: null, metrics: { rows: 800, positives: 200 } })
  expect(state.registry.state().aliases.get('champion')).toBe(version!.version)
  expect(await metric('millrace_trainer_candidates_total{outcome="promoted"}')).toBe(1)
})

test('one that is requested starts at once, and only once', async () => {
  let fits = 0
  const { state } = due(async () => {
    fits++
    return { weights: weightsOf(8), note: 'fitted' }
  })
  state.schedule = { publishedMs: null, retrainedMs: hourMs, retrainedRows: 1_000 }
  state.requestedBy = 'a test'
  await retrain(state, never)
  expect(state.retraining!.reason).toBe('requested by a test')
  expect(state.requestedBy).toBeNull()
  await state.retraining!.done
  await retrain(state, never)
  await retrain(state, never)
  expect([fits, state.retraining]).toEqual([1, null])
})

test('an untrainable set is passed by until new rows have come; another failure is thrown', async () => {
  const { state, metric } = due(() => Promise.reject(new PipelineError('model_untrainable', 'Too few.')))
  await retrain(state, never)
  await state.retraining!.done
  await retrain(state, never)
  expect([state.retraining, state.schedule.retrainedRows]).toEqual([null, 1_000])
  expect(await metric('millrace_trainer_retrain_duration_seconds_count{outcome="failed"}')).toBe(1)

  const broken = due(() => Promise.reject(new Error('broken'))).state
  await retrain(broken, never)
  await broken.retraining!.done
  await expect(retrain(broken, never)).rejects.toThrow('broken')
})

test('one that the stop ended leaves the schedule as it is', async () => {
  const stop = new AbortController()
  const { state } = due(
    (_, { signal }) =>
      new Promise((_, reject) => {
        signal.throwIfAborted()
        signal.addEventListener('abort', () => reject(signal.reason as Error))
      }),
    { signal: stop.signal },
  )
  await retrain(state, stop.signal)
  stop.abort()
  await state.retraining!.done
  await retrain(state, stop.signal)
  expect(state.schedule.retrainedRows).toBe(0)
})

test('one after a change of the definition is due until it has been done, also if the trainer dies before', async () => {
  const saved = new Map<string, Buffer>()
  const start = async (earlierDefinition: string | null, asksForRetraining = true) => {
    const fixture = due(async () => ({ weights: weightsOf(8), note: 'fitted' }))
    const store = {
      ...fixture.state.store,
      earlierDefinition,
      saveState: async (name: string, { bytes }: { readonly bytes: Uint8Array }) =>
        void saved.set(name, Buffer.from(bytes)),
      state: async (name: string) => {
        const bytes = saved.get(name)
        return bytes ? { upToSeq: 0, bytes } : null
      },
    }
    const { plan } = fixture.state
    const learn = asksForRetraining ? plan.learn : { ...plan.learn, retrain: null }
    const state = { ...fixture.state, store, plan: { ...plan, learn } }
    await loadSchedule(state)
    return state
  }
  expect((await start('before', false)).requestedBy).toBeNull()
  saved.clear()
  expect((await start('before')).requestedBy).toBe('a changed definition (before before)')
  // The file is of this definition by now.
  const state = await start(null)
  expect(state.requestedBy).toBe('a changed definition (before before)')
  await retrain(state, never)
  await state.retraining!.done
  await retrain(state, never)
  expect((await start(null)).requestedBy).toBeNull()
})
