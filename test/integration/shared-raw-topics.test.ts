/**
 * Two definitions in two namespaces over the same raw topics: events that each of them sends, from files and over HTTP, are predicted by
 * both as their replays say, and nothing is rejected.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, inject, onTestFinished, test, vi } from 'vitest'
import { watchTopics } from '../../cli/environment/watch-topics.ts'
import { loadPlan } from '../../cli/load-plan.ts'
import { createReplay } from '../../processors/replay.ts'
import { systemClock } from '../../runtime/clock.ts'
import type { DeadLetter, Prediction } from '../../schemas/wire/records.ts'
import type { StreamEvent } from '../../testing/index.ts'
import { click, refund } from '../support/clicks.ts'
import { ownFolder, startCommand } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'

const partitions = 2
const eachFile = 300
const eachPost = 20
const rawNamespace = `shared-raw-${process.pid}`

interface Follower {
  readonly definition: string
  readonly url: string
  readonly environment: Readonly<Record<string, string>>
  readonly predictions: Prediction[]
  readonly rejections: DeadLetter[]
}

async function follow(name: string, definition: string): Promise<Follower> {
  const settings = { MILLRACE_RAW_NAMESPACE: rawNamespace, MILLRACE_PARTITIONS: String(partitions) }
  // The second pipeline looks further back, so that the raw topics have to keep more.
  const topics = startCommand(['topics', definition, '--create', '--alter'], {
    ...settings,
    KAFKA_BROKERS: inject('kafkaBrokers'),
    MILLRACE_NAMESPACE: `${name}-${process.pid}`,
  })
  expect(await topics.exitCode, topics.output()).toBe(0)
  const { broker, plan, url, environment } = await runPipeline(name, { definition, settings })
  const [predictions, rejections]: [Prediction[], DeadLetter[]] = [[], []]
  const watched = await watchTopics({
    broker,
    plan,
    clock: systemClock,
    from: 'start',
    onPrediction: (one) => void predictions.push(one),
    onRejection: (one) => void rejections.push(one),
  })
  onTestFinished(() => watched.close())
  return { definition, url, environment, predictions, rejections }
}

/** Clicks from a second on, two seconds apart, every tenth refunded at once. */
function eventsFrom(second: number, count: number): StreamEvent[] {
  return Array.from({ length: count }, (_, i) => {
    const at = second + 2 * i
    const made = click(`c${at}`, `u${i % 5}`, at, { page: `p${i % 3}`, amount: 1 + (i % 9) })
    return i % 10 === 9 ? [made, refund(`c${at}`, `u${i % 5}`, at + 1, { page: `p${i % 3}`, clickedAt: at })] : [made]
  }).flat()
}

async function produce({ definition, environment }: Follower, events: readonly StreamEvent[]): Promise<void> {
  const file = join(ownFolder(), 'events.jsonl')
  writeFileSync(file, events.map(({ stream, values }) => `${JSON.stringify({ stream, ...values })}\n`).join(''))
  const command = startCommand(['produce', definition, '--source', file], environment)
  expect(await command.exitCode, command.output()).toBe(0)
}

/** Of one user, so that they come into one partition and in their order. */
async function post({ url }: Follower, second: number): Promise<StreamEvent[]> {
  const events = Array.from({ length: eachPost }, (_, i) => click(`c${second + i}`, 'u3', second + i, { page: 'p1' }))
  const answer = await fetch(`${url}/streams/clicks/events`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(events.map(({ values }) => values)),
  })
  expect(answer.status, await answer.text()).toBe(200)
  return events
}

async function differing({ definition, predictions }: Follower, events: readonly StreamEvent[]): Promise<string[]> {
  const plan = await loadPlan(definition, { namespace: '' })
  const replay = createReplay(plan, { partitions })
  const indexOf = new Map(plan.streams.map(({ name, index }) => [name, index]))
  const replayed = [
    ...events.flatMap(({ stream, values }) => replay.push(indexOf.get(stream)!, values)),
    ...replay.flush(),
  ]
  const vectors = new Map(replayed.map(({ id, vector }) => [id, vector]))
  expect(vectors.size).toBe(predictions.length)
  return predictions
    .filter(({ id, features }) => !features.every((value, i) => Object.is(value, vectors.get(id)?.[i])))
    .map(({ id }) => id)
}

test('two pipelines share raw topics: 0 dead letters, 0 differing', { timeout: 240_000 }, async () => {
  const a = await follow('shared-a', 'test/cli/fixtures/clicks.ts')
  const b = await follow('shared-b', 'test/integration/fixtures/visits.ts')
  const sent: StreamEvent[] = []
  const untilPredicted = () =>
    vi.waitFor(
      () => {
        const clicks = sent.filter(({ stream }) => stream === 'clicks').length
        for (const { predictions, rejections } of [a, b])
          expect([predictions.length, rejections.map(({ problems }) => problems)]).toEqual([clicks, []])
      },
      { timeout: 60_000, interval: 100 },
    )
  for (const [i, sender] of [a, b].entries()) {
    // The second pipeline's refunds lack a field that the first one needs.
    const events = eventsFrom(1_000 * i, eachFile).filter(({ stream }) => sender === a || stream === 'clicks')
    await produce(sender, events)
    sent.push(...events)
    await untilPredicted()
  }
  for (const [i, sender] of [a, b, a].entries()) {
    sent.push(...(await post(sender, 3_000 + 100 * i)))
    await untilPredicted()
  }
  expect([await differing(a, sent), await differing(b, sent)]).toEqual([[], []])
  const topics = startCommand(['topics', b.definition], b.environment)
  expect(await topics.exitCode, topics.output()).toBe(0)
  expect(topics.output()).toMatch(new RegExp(`ok +${rawNamespace}.clicks.schemas +raw schemas +1 / 1`))
})
