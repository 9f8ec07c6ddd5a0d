/**
 * What real servers may do to a running pipeline, one after the other: Redis emptied under load and under a process that is paused for
 * longer than a transaction may take; offsets, records and topics that are lost from Kafka. Each ends in the predictions of a quiet run, or
 * in one sentence. See also `outage.test.ts`, `crash.test.ts` and `stop.test.ts`.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { Redis } from 'ioredis'
import { type Admin, Kafka, logLevel } from 'kafkajs'
import { expect, onTestFinished, test } from 'vitest'
import { call } from '../../cli/call.ts'
import { createHandbookRun, definition, type HandbookRun } from '../../support/handbook-run.ts'
import { ownServers } from '../../support/own-servers.ts'

/** Transactions time out after 10 s, sessions after 6. */
const pauseMs = 12_000

async function openAdmin(address: string): Promise<Admin> {
  const admin = new Kafka({ brokers: [address], logLevel: logLevel.NOTHING }).admin()
  await admin.connect()
  onTestFinished(() => admin.disconnect())
  return admin
}

/** What a start ends with that must not continue. */
async function sentenceOf(run: HandbookRun): Promise<string> {
  const { code, err } = await call(['run', definition], {
    env: { ...run.environment, MILLRACE_LOG_LEVEL: 'silent', MILLRACE_WORKER: 'worker-1' },
  })
  expect(code, err.join('\n')).toBe(1)
  return err.find((line) => line.startsWith('error: ')) ?? err.join('\n')
}

test('predictions survive emptied stores, pauses, expired offsets, removed and recreated topics', {
  timeout: 240_000,
}, async () => {
  const { kafka, redis } = await ownServers()
  const run = createHandbookRun({
    name: 'recovery',
    kafkaBrokers: kafka.address,
    redisUrl: redis.address,
    hours: 14,
    settings: { MILLRACE_SESSION_TIMEOUT_MS: '6000' },
  })
  const store = new Redis(redis.address)
  onTestFinished(() => store.disconnect())
  const work = await run.start('worker-1')
  await run.watch()
  const produce = run.produceHours(400)
  for (const count of [500, 1_200]) {
    await run.untilPredicted(count)
    await store.flushall()
  }
  await run.untilPredicted(2_000)
  work.child.kill('SIGSTOP')
  await sleep(pauseMs)
  // It would apply now what it had loaded before the pause.
  await store.flushall()
  work.child.kill('SIGCONT')
  expect(await produce.exitCode, produce.output()).toBe(0)
  await run.expectQuiet()
  expect(work.output()).toContain('holds no owner token any more')
  work.child.kill('SIGTERM')
  expect(await work.exitCode, work.output()).toBe(0)

  const admin = await openAdmin(kafka.address)
  await admin.deleteGroups([run.group])
  expect(await sentenceOf(run)).toMatch(
    /^error: The stored state of (customer|terminal) \d is at offsets [\d, ]+, but Kafka has no committed offsets: they expired/,
  )
  const rebuilding = await run.start('worker-1', {}, '--rebuild')
  await run.expectQuiet()
  rebuilding.child.kill('SIGTERM')
  expect(await rebuilding.exitCode, rebuilding.output()).toBe(0)

  const { topic } = run.plan.scored
  const offsets = await admin.fetchTopicOffsets(topic)
  await admin.deleteTopicRecords({
    topic,
    partitions: offsets.map(({ partition, high }) => ({ partition, offset: high })),
  })
  await store.flushall()
  expect(await sentenceOf(run)).toMatch(
    new RegExp(
      `^error: The store is empty for customer \\d, and ${topic}, partition \\d, no longer has all events of its windows`,
    ),
  )

  await admin.deleteTopics({ topics: [topic] })
  await sleep(500)
  const created = await call(['topics', definition, '--create'], { env: { ...run.environment } })
  expect(created.out.join('\n')).toContain(`created ${topic}`)
  expect(await sentenceOf(run)).toMatch(
    new RegExp(
      `^error: Kafka no longer has a committed offset for ${topic}, partition \\d, but has one for \\S+, which customer`,
    ),
  )
})
