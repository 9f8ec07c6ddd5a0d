/**
 * A backlog of three stages, with default settings, while one of the processes gets a fifth of its time and all are stopped now and then:
 * what is computed is what the replay computes, since an event waits for whoever makes progress.
 */
import { spawnSync } from 'node:child_process'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { expect, inject, test } from 'vitest'
import type { VerifyFigures } from '../../cli/proof/verify.ts'
import { createRandom } from '../../testing/random.ts'
import { type Command, ownFolder, readJson, startCommand } from '../support/command.ts'
import { drawn } from '../support/nightly.ts'

const servers = { KAFKA_BROKERS: inject('kafkaBrokers'), REDIS_URL: inject('redisUrl'), MILLRACE_HTTP_PORT: '0' }
const events = drawn({ always: 20_000, nightly: 150_000 })
const seed = 20261130

/** Trips of 300 drivers in order of time, each twentieth with an incident. */
async function writeTrips(file: string): Promise<void> {
  const random = createRandom(seed)
  const out = createWriteStream(file)
  let at = Date.UTC(2026, 0, 1)
  for (let i = 0; i < events; i++) {
    at += random.below(2_000)
    const who = { driver: `d${random.below(300)}`, vehicle: `v${random.below(200)}`, road: `r${random.below(40)}` }
    out.write(`${JSON.stringify({ stream: 'trips', id: `t${i}`, ...who, km: random.below(500) / 10, at })}\n`)
    if (random.below(20) === 0) out.write(`${JSON.stringify({ stream: 'incidents', id: `t${i}`, ...who, at })}\n`)
  }
  await new Promise<void>((resolve) => out.end(resolve))
}

/** The processes of the pipeline, by their command. */
function workersOf({ child }: Command): number[] {
  const { stdout } = spawnSync('ps', ['-A', '-o', 'pid=,ppid=,args='], { encoding: 'utf8' })
  const processes = stdout
    .split('\n')
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .flatMap((found) => (found ? [{ pid: Number(found[1]), parent: Number(found[2]), args: found[3]! }] : []))
  const below = (pid: number): number[] => {
    const children = processes.filter(({ parent }) => parent === pid)
    return children.flatMap((one) => [...(/ run test\/cli/.test(one.args) ? [one.pid] : []), ...below(one.pid)])
  }
  return below(child.pid!)
}

test(`${events} events through three stages: none is released early, no vector differs`, {
  timeout: 1_800_000,
}, async () => {
  const folder = ownFolder()
  const [source, json] = [join(folder, 'trips.jsonl'), join(folder, 'verify.json')]
  await writeTrips(source)
  const args = ['verify', 'test/cli/fixtures/routes.ts', '--source', source, '--processes', '2', '--json', json]
  const command = startCommand(args, servers)
  await command.printed('predicted')
  const workers = workersOf(command)
  expect(workers, command.output()).toHaveLength(2)
  const isDone = () => command.child.exitCode !== null
  const [, slow] = workers as [number, number]
  for (let turn = 0; !isDone(); turn++) {
    await paused([slow], 800)
    await setTimeout(200)
    if (turn === 10) await paused(workers, 4_000)
  }
  expect(await command.exitCode, command.output()).toBe(0)
  const figures = readJson<VerifyFigures>(json)
  const none = { differing: 0, missing: 0, doubled: 0, late: 0, releasedEarly: 0, rejected: 0, duplicates: 0 }
  expect(figures).toMatchObject(none)
  expect(figures.compared).toBe(figures.events)
})

/** Stops the processes for a while, as far as they are still there. */
async function paused(pids: readonly number[], ms: number): Promise<void> {
  for (const pid of pids) signalled(pid, 'SIGSTOP')
  await setTimeout(ms)
  for (const pid of pids) signalled(pid, 'SIGCONT')
}

function signalled(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}
