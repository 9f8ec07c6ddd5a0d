/** How a production process ends: by a signal, by a failure, before it was open, and with parts that do not close. */
import { EventEmitter } from 'node:events'
import { expect, test } from 'vitest'
import type { LiveProcess } from '../../cli/run/live-process.ts'
import { createShutdown } from '../../cli/shutdown.ts'
import { createStopping } from '../../cli/signals.ts'
import { untilStopped } from '../../cli/until-stopped.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'

function setUp() {
  const exits: number[] = []
  const lines: string[] = []
  const process = Object.assign(new EventEmitter(), { exit: (code: number) => void exits.push(code) })
  const terminal = { out: (line: string) => void lines.push(line), err: (line: string) => void lines.push(line) }
  const stopping = createStopping(process, terminal)
  // A deadline that is reached as soon as everything else had its turn.
  const shutdown = createShutdown(() => ({
    reached: new Promise((resolve) => setImmediate(resolve, 'late')),
    cancel: () => undefined,
  }))
  const closed: string[] = []
  shutdown.add('Kafka', async () => void closed.push('Kafka'))
  const signal = stopping.signal()
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
  const live = (ended: Promise<void>): LiveProcess => ({ ended }) as LiveProcess
  const run = (open: () => Promise<LiveProcess>) =>
    untilStopped(open, { shutdown, signal, context: { terminal, stopping }, log })
  return { process, shutdown, closed, exits, lines, live, run }
}

const stopLine = 'Stopping. A second signal stops immediately.'
const failure = new PipelineError('state_ahead', 'The stored state is ahead.')
const never = new Promise<void>(() => undefined)

test('a signal closes everything and ends with 0', async () => {
  const { process, closed, exits, lines, live, run } = setUp()
  const code = await run(async () => {
    setImmediate(() => process.emit('SIGTERM'))
    return live(never)
  })
  expect({ code, closed, exits, lines }).toEqual({ code: 0, closed: ['Kafka'], exits: [], lines: [stopLine] })
})

test('a worker that gives up closes everything and is the failure of the command, reported once', async () => {
  const { shutdown, closed, exits, lines, live, run } = setUp()
  const gaveUp = Promise.reject(failure)
  shutdown.add('worker', () => gaveUp)
  await expect(run(async () => live(gaveUp))).rejects.toBe(failure)
  expect({ closed, exits, lines }).toEqual({ closed: ['Kafka'], exits: [], lines: [] })
})

test('a failure to open closes what was open by then', async () => {
  const { closed, run } = setUp()
  await expect(run(() => Promise.reject(failure))).rejects.toBe(failure)
  expect(closed).toEqual(['Kafka'])
})

test('a signal before everything is open closes what is and leaves at once', async () => {
  const { process, closed, exits, run } = setUp()
  setImmediate(() => process.emit('SIGINT'))
  await run(() => new Promise(() => undefined))
  expect({ closed, exits }).toEqual({ closed: ['Kafka'], exits: [130] })
})

test('a part that does not close well is named and ends with 1', async () => {
  const { process, shutdown, closed, lines, live, run } = setUp()
  shutdown.add('store', () => Promise.reject(new PipelineError('redis_unreachable', 'Redis did not answer')))
  setImmediate(() => process.emit('SIGTERM'))
  expect(await run(async () => live(never))).toBe(1)
  expect(closed).toEqual(['Kafka'])
  expect(lines).toEqual([
    stopLine,
    'store could not be closed: error: Redis did not answer.\nCheck REDIS_URL and that Redis is running.',
  ])
})

test('a part that does not close in time is named, and the process is left at once', async () => {
  const { process, shutdown, closed, exits, lines, live, run } = setUp()
  shutdown.add('worker', () => never)
  setImmediate(() => process.emit('SIGTERM'))
  expect(await run(async () => live(never))).toBe(1)
  expect({ closed, exits }).toEqual({ closed: [], exits: [1] })
  expect(lines[1]).toBe('Not closed within 10 s: worker, Kafka. Nothing is lost: the next start continues.')
})
