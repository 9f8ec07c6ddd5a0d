import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import type { KafkaError } from '../../../runtime/kafka/error-codes.ts'
import { createHeartbeat } from '../../../runtime/kafka/heartbeat.ts'
import { PipelineError } from '../../../schemas/kernel/errors.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

function beating(answers: Array<KafkaError | 'UNREACHABLE'>) {
  const counts = { beats: 0, lost: 0 }
  const heartbeat = createHeartbeat({
    intervalMs: 100,
    sessionTimeoutMs: 1_000,
    async beat() {
      const answer = answers[Math.min(counts.beats++, answers.length - 1)]!
      if (answer === 'UNREACHABLE') throw new PipelineError('kafka_unreachable', 'no answer')
      return answer
    },
    lostCoordinator() {
      counts.lost++
    },
  })
  const state = () => ({ current: heartbeat.isCurrent(), member: heartbeat.isMember(), ...counts })
  return { heartbeat, state }
}

describe('a heartbeat', () => {
  test('beats by itself and stays current', async () => {
    const { heartbeat, state } = beating(['NONE'])
    await vi.advanceTimersByTimeAsync(1_050)
    expect(state()).toEqual({ current: true, member: true, beats: 10, lost: 0 })
    heartbeat.stop()
    await vi.advanceTimersByTimeAsync(1_000)
    expect(state()).toEqual({ current: false, member: false, beats: 10, lost: 0 })
  })

  test('continues beating through a rebalance, no longer current', async () => {
    const { state } = beating(['NONE', 'REBALANCE_IN_PROGRESS', 'NONE'])
    await vi.advanceTimersByTimeAsync(550)
    expect(state()).toEqual({ current: false, member: true, beats: 5, lost: 0 })
  })

  test.each<KafkaError>(['UNKNOWN_MEMBER_ID', 'ILLEGAL_GENERATION', 'FENCED_INSTANCE_ID'])(
    'ends with %s',
    async (error) => {
      const { state } = beating(['NONE', error])
      await vi.advanceTimersByTimeAsync(950)
      expect(state()).toEqual({ current: false, member: false, beats: 2, lost: 0 })
    },
  )

  test('bears a coordinator that moves or is silent, for one session at most', async () => {
    const { state } = beating(['NONE', 'NOT_COORDINATOR', 'UNREACHABLE'])
    await vi.advanceTimersByTimeAsync(950)
    expect(state()).toEqual({ current: true, member: true, beats: 9, lost: 8 })
    await vi.advanceTimersByTimeAsync(200)
    expect(state()).toMatchObject({ current: false, member: false })
  })
})
