/** The retry policy: backoff with jitter, its bounds, which failures are final, and what an abort does. */
import { expect, test } from 'vitest'
import { backoffMs, createOutage, type RetryOptions, retry } from '../../runtime/retry.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { createRandom } from '../../testing/random.ts'
import { createVirtualClock } from '../../testing/virtual-clock.ts'

const policy = { pauseMsFirst: 100, pauseMsMax: 1_000, outageMaxMs: 10_000 }
const down = (n = 0) => new PipelineError('kafka_unreachable', `No broker answered, ${n}.`, { details: { n } })

function setUp(more: Partial<RetryOptions> = {}) {
  const clock = createVirtualClock(0)
  const pauses: number[] = []
  const options: RetryOptions = {
    policy,
    clock,
    random: () => 1,
    onRetry: ({ pauseMs }) => void pauses.push(pauseMs),
    ...more,
  }
  return { clock, pauses, options }
}

test('pauses double up to the maximum, and jitter takes away up to half of each', () => {
  const sequence = (random: () => number) => [1, 2, 3, 4, 5, 60].map((failures) => backoffMs(policy, failures, random))
  expect(sequence(() => 1)).toEqual([100, 200, 400, 800, 1_000, 1_000])
  expect(sequence(() => 0)).toEqual([50, 100, 200, 400, 500, 500])
  const seeded = sequence(createRandom(7).next)
  expect(seeded).toEqual(sequence(createRandom(7).next))
  expect(seeded.map(Math.round)).toEqual([51, 106, 395, 680, 761, 703])
})

test('retries until an attempt succeeds and resolves with its result', async () => {
  const { options, pauses, clock } = setUp()
  let attempts = 0
  const result = await retry(async () => {
    if (++attempts < 4) throw down()
    return 'done'
  }, options)
  expect([result, attempts, pauses, clock.elapsedMs()]).toEqual(['done', 4, [100, 200, 400], 700])
})

test('gives up when the outage has lasted too long: states for how long, and keeps the code, the details and the last cause', async () => {
  const { options, clock } = setUp()
  let attempts = 0
  const error = await retry(async () => {
    throw down(++attempts)
  }, options).catch((error: unknown) => error)
  // 100, 200, 400 and 800 ms, then every second: the first failure after 10 s is final.
  expect([attempts, clock.elapsedMs()]).toEqual([14, 10_500])
  expect(error).toMatchObject({
    code: 'kafka_unreachable',
    message: 'No broker answered, 14. Gave up after 14 failed attempts in 11 s.',
    details: { n: 14, failures: 14, forMs: 10_500 },
    cause: { message: 'No broker answered, 14.' },
  })
})

test('gives up after the allowed number of attempts', async () => {
  const { options, pauses } = setUp({ policy: { ...policy, attemptsMax: 3 } })
  await expect(retry(() => Promise.reject(down()), options)).rejects.toThrow('after 3 failed attempts in 0 s')
  expect(pauses).toEqual([100, 200])
})

test.each([
  ['an error that is not retriable', new PipelineError('topic_missing', 'There is no such topic.')],
  ['a mistake of the program', new TypeError('x is undefined')],
])('throws %s at once', async (_, failure) => {
  const { options, pauses } = setUp()
  await expect(retry(() => Promise.reject(failure), options)).rejects.toBe(failure)
  expect(pauses).toEqual([])
})

test('the caller may decide what is retriable', async () => {
  const { options, pauses } = setUp({ isRetriable: async ({ code }) => code === 'superseded' })
  const failures = [new PipelineError('superseded', 'Another process has joined.'), down()]
  await expect(retry(() => Promise.reject(failures.shift()), options)).rejects.toMatchObject({
    code: 'kafka_unreachable',
  })
  expect(pauses).toEqual([100])
})

test('an abort ends the pause and the attempts, with the last failure', async () => {
  const stop = new AbortController()
  const { options, clock } = setUp({
    policy: { ...policy, pauseMsFirst: 1_000_000, pauseMsMax: 1_000_000 },
    signal: stop.signal,
  })
  let attempts = 0
  const failures = [down(1), down(2)]
  const ended = retry(async () => {
    throw failures[attempts++]
  }, options)
  void clock.sleep(50).then(() => stop.abort())
  const elapsedMs = ended.catch(() => clock.elapsedMs())
  await expect(ended).rejects.toBe(failures[0])
  expect([attempts, await elapsedMs]).toEqual([1, 50])
})

test('after a success the backoff and the bound start again', async () => {
  const { options, pauses, clock } = setUp()
  const outage = createOutage(options)
  await outage.failed(down())
  await outage.failed(down())
  outage.succeeded()
  await clock.sleep(60_000)
  await outage.failed(down())
  expect(pauses).toEqual([100, 200, 100])
})

test('once the signal is aborted a failure is not paused for', async () => {
  const stop = new AbortController()
  const { options, pauses } = setUp({ signal: stop.signal })
  stop.abort()
  await createOutage(options).failed(down())
  expect(pauses).toEqual([])
})
