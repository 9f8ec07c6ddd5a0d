/** What the peers of the bench are built and run with, on shells and scripts in their place. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cpuSecondsAt } from '../../bench/middle.ts'
import { buildPeers } from '../../bench/peers/build-peer.ts'
import { floor } from '../../bench/peers/floor.ts'
import { runGuarded } from '../../bench/peers/guarded-run.ts'
import { flink, kafkaStreams } from '../../bench/peers/jvm.ts'
import type { PeerCommand, PeerFamily, PeerRun } from '../../bench/peers/peer.ts'
import { ownFolder } from '../support/command.ts'

const env = { PATH: process.env.PATH, HOME: process.env.HOME, THREADS: '64' }
const shell = (script: string, environment = {}): PeerCommand => ({
  file: '/bin/sh',
  args: ['-c', script],
  environment,
})
const hasProc = existsSync('/proc/self/stat')

describe('a guarded run', () => {
  const runIn = (command: PeerCommand, timeoutMs = 60_000) => {
    const folder = ownFolder()
    return runGuarded(command, { folder, logPath: join(folder, 'log'), env, timeoutMs })
  }

  test.skipIf(!hasProc)('counts the CPU of its processes, also of children that have ended, each once', async () => {
    const folder = ownFolder()
    const script = `const used = () => process.cpuUsage().user + process.cpuUsage().system
      while (used() < 4e5) for (let i = 0; i < 1e5; i++);
      fs.appendFileSync('used', used() + '\\n')`
    writeFileSync(join(folder, 'burn.cjs'), `const fs = require('fs')\n${script}`)
    const burn = `"${process.execPath}" burn.cjs`
    const command = shell(`${burn}; ${burn} & wait; sleep 0.2`)
    const { usages, failure } = await runGuarded(command, {
      folder,
      logPath: join(folder, 'log'),
      env,
      timeoutMs: 60_000,
    })
    expect(failure).toBeNull()
    const told = readFileSync(join(folder, 'used'), 'latin1').trim().split('\n').map(Number)
    expect(told).toHaveLength(2)
    expect(cpuSecondsAt(usages, usages[0]!.atMs)).toBe(0)
    // What they say themselves, and a little for their end and the shell.
    const over = usages.at(-1)!.cpuSeconds - (told[0]! + told[1]!) / 1e6
    expect(over).toBeGreaterThan(-0.05)
    expect(over).toBeLessThan(0.6)
  })

  test('that fails says how, with the end of its output', async () => {
    const { failure } = await runIn(shell('echo one; echo two >&2; exit 3'))
    expect(failure).toBe('/bin/sh: exit code 3; its output ends with:\n  one\n  two')
  })

  test('that does not end is stopped, with what it has started', async () => {
    const folder = ownFolder()
    const beat = shell('(while :; do echo beat >> beats; sleep 0.05; done) & wait')
    const { failure } = await runGuarded(beat, { folder, logPath: join(folder, 'log'), env, timeoutMs: 500 })
    expect(failure).toContain('/bin/sh: no end within 0.5 s')
    const beats = readFileSync(join(folder, 'beats'), 'latin1')
    await new Promise((resolve) => setTimeout(resolve, 300))
    expect(readFileSync(join(folder, 'beats'), 'latin1')).toBe(beats)
    expect(readdirSync(folder).sort()).toEqual(['beats', 'log'])
  })

  test('gets the settings of its command, and none of the environment that might be a setting', async () => {
    const folder = ownFolder()
    const print = shell('echo "$THREADS $WORK" > told', { WORK: 'w1' })
    await runGuarded(print, { folder, logPath: join(folder, 'log'), env, timeoutMs: 60_000 })
    expect(readFileSync(join(folder, 'told'), 'latin1')).toBe(' w1\n')
  })
})

describe('a build', () => {
  const family = (...build: PeerCommand[]): PeerFamily => ({ folder: 'peer', leftOut: new Set(['out']), build })
  const sources = () => {
    const from = ownFolder()
    mkdirSync(join(from, 'peer/below/out'), { recursive: true })
    writeFileSync(join(from, 'peer/below/one'), '1')
    writeFileSync(join(from, 'peer/below/out/left'), '1')
    return from
  }

  test('is made once for each state of the sources, in a copy of them', async () => {
    const [from, cacheFolder] = [sources(), ownFolder()]
    const lines: string[] = []
    const options = { from, cacheFolder, env, printLine: (line: string) => void lines.push(line) }
    const build = () => buildPeers(family(shell('cp below/one built')), options)
    const first = await build()
    expect(await build()).toEqual(first)
    writeFileSync(join(from, 'peer/below/one'), '2')
    const second = await build()
    expect(lines).toHaveLength(2)
    const read = (built: typeof first, path: string) =>
      readFileSync(join((built as { folder: string }).folder, path), 'utf8')
    expect([read(first, 'built'), read(second, 'built')]).toEqual(['1', '2'])
    expect(existsSync(join((first as { folder: string }).folder, 'below/out'))).toBe(false)
    expect(readdirSync(join(from, 'peer'))).toEqual(['below'])
  })

  test('that fails leaves nothing behind and says why', async () => {
    const [from, cacheFolder] = [sources(), ownFolder()]
    const options = { from, cacheFolder, env, printLine: () => undefined }
    expect(await buildPeers(family(shell('echo no compiler; exit 1')), options)).toEqual({
      reason: 'it was not built: /bin/sh: exit code 1; its output ends with:\n  no compiler',
    })
    expect(await buildPeers(family({ file: 'no-such-program', args: [], environment: {} }), options)).toEqual({
      reason: expect.stringContaining('it was not built: no-such-program: exit code 127'),
    })
    expect(readdirSync(cacheFolder)).toEqual([])
  })

  test('without sources says what is missing', async () => {
    const from = ownFolder()
    const options = { from, cacheFolder: ownFolder(), env, printLine: () => undefined }
    const missing = { reason: expect.stringContaining(join(from, 'peer')) }
    expect(await buildPeers(family(), options)).toEqual(missing)
    mkdirSync(join(from, 'peer'))
    expect(await buildPeers(family(), options)).toEqual({ reason: `${join(from, 'peer')} has no files` })
  })
})

describe('a peer', () => {
  const run: PeerRun = {
    work: 'w1',
    events: 1_000,
    kafkaBrokers: '127.0.0.1:9000',
    redisUrl: 'redis://127.0.0.1:9001',
    partitions: 4,
    id: 'p1',
    source: 'tx',
    output: 'p1.out',
    folder: '/built',
    stateFolder: '/state',
    timeoutMs: 1_000,
  }

  test('of the JVM gets the job, the servers and the topics in its environment', () => {
    const settings = {
      WORK: 'w1',
      N: '1000',
      BROKER: '127.0.0.1:9000',
      IN: 'tx',
      OUT_TOPIC: 'p1.out',
      GUARANTEE: 'eos',
    }
    for (const peer of [kafkaStreams, flink]) expect(peer.command(run)).toMatchObject({ environment: settings })
    expect(flink.topics(run)).toEqual(['p1.out', 'p1.out.rep'])
  })

  test('that knows local servers only says so where others are given', () => {
    expect(floor.command(run)).toMatchObject({
      args: expect.arrayContaining(['in=tx', 'out=p1.out', 'redisport=9001']),
    })
    const local = 'it knows servers on 127.0.0.1 without TLS only'
    expect(floor.command({ ...run, kafkaBrokers: 'kafka.internal:9092' })).toBe(local)
    expect(floor.command({ ...run, redisUrl: 'rediss://127.0.0.1:9001' })).toBe(local)
    expect(floor.command({ ...run, partitions: 8 })).toBe('it knows topics of 4 partitions only, not 8')
  })
})
