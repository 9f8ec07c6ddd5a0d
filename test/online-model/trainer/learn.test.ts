/** Steps 2 and 3 of the trainer: what is learnt, and which versions come of it. */
import { describe, expect, test } from 'vitest'
import type { ContinuousLearning } from '../../../online-model/trainer/continuous.ts'
import { learnMatured } from '../../../online-model/trainer/learn.ts'
import { publishLearnt } from '../../../online-model/trainer/publish.ts'
import { rowsOf, trainerFixture, weightsOf } from './trainer-fixture.ts'

interface LearnerFake extends ContinuousLearning {
  /** The row numbers that were learnt, and 'save' for each save. */
  readonly calls: Array<number | 'save'>
}

/** Each row learnt changes the weights, so that no two versions are the same. */
function learnerFake(learntSeq = 0): LearnerFake {
  const calls: Array<number | 'save'> = []
  let upToSeq = learntSeq
  return {
    calls,
    get upToSeq() {
      return upToSeq
    },
    learntMs: null,
    async learn(rows, from, untilMs) {
      let row = from
      for (let isCut = false; row < rows.rowCount && !isCut; row++) {
        calls.push(rows.seqs[row]!)
        upToSeq = rows.seqs[row]!
        isCut = rows.times[row]! >= untilMs
      }
      return row
    },
    weights: () => weightsOf(1 + upToSeq),
    recent: () => {
      const { rowCount, labels, times, weights, scores, keys, versions } = rowsOf(40)
      return { rowCount, labels, times, weights, served: scores, candidate: scores, keys, versions }
    },
    vectors: () => new Float64Array(0),
    async save() {
      calls.push('save')
    },
    close: () => undefined,
  }
}

describe('learning', () => {
  test('publishes a version every two hours of events, by the rows alone', async () => {
    const { state, saved } = trainerFixture()
    const learner = learnerFake()
    await learnMatured(state, learner, rowsOf(6))
    expect(learner.calls).toEqual([1, 2, 3, 'save', 4, 5, 'save', 6])
    expect(state.registry.state().versions.size).toBe(2)
    expect(JSON.parse(saved.get('schedule')!)).toMatchObject({ publishedMs: 5 * 3_600_000 })
  })

  test('rows that were learnt before they are handed out again are not learnt twice', async () => {
    const { state, metric } = trainerFixture()
    const learner = learnerFake(2)
    await learnMatured(state, learner, rowsOf(4))
    expect(learner.calls).toEqual([3, 4])
    expect(await metric('millrace_trainer_learnt_rows_total')).toBe(2)
    await learnMatured(state, learner, rowsOf(4))
    expect(learner.calls).toEqual([3, 4])
  })
})

describe('publishing', () => {
  test('saves the learner first, and names the version before as the parent', async () => {
    const { state } = trainerFixture()
    const learner = learnerFake()
    await publishLearnt(state, learner, 1_000)
    expect(learner.calls).toEqual(['save'])
    await learnMatured(state, learner, rowsOf(1))
    await publishLearnt(state, learner, 2_000)
    const versions = [...state.registry.state().versions.values()]
    expect(versions.map(({ parent, origin }) => [parent, origin])).toEqual([
      [null, 'continuous'],
      ['v1', 'continuous'],
    ])
    const topic = state.plan.predictions.topic
    expect(versions[0]!.trainedOn).toEqual([{ topic, partition: 0, offset: 7 }])
    expect(versions[0]!.metrics).toMatchObject({ rows: 40, auc: 0.5 })
    expect(state.schedule.publishedMs).toBe(2_000)
  })

  test('the same weights once more are neither published nor counted again', async () => {
    const { state, metric } = trainerFixture()
    await publishLearnt(state, learnerFake(), 1_000)
    await publishLearnt(state, learnerFake(), 1_000)
    expect(state.registry.state().versions.size).toBe(1)
    expect(await metric('millrace_trainer_candidates_total{outcome="rejected"}')).toBe(1)
  })
})
