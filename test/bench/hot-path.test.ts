/**
 * The hot path as V8 sees it: once it is warm, no function of it is deoptimised, and an event allocates no more than it does today. No
 * time is asserted. A process of its own runs the real batch loop, with the log of V8 on.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, test } from 'vitest'
import type { HotPathFigures } from './hot-path-process.ts'

/** Where the code lies that runs for every event. */
const hotPaths = [
  'processors/batch/',
  'processors/watermarks/',
  'feature-store/',
  'schemas/wire/',
  'schemas/kernel/keyed-hash.ts',
  'online-model/models/',
  'runtime/records.ts',
  'runtime/framed-records.ts',
  'runtime/outbox.ts',
  'runtime/partition.ts',
  'runtime/kafka/record-batch-',
  'runtime/kafka/crc32c.ts',
]
const isHot = (line: string) => hotPaths.some((path) => line.includes(`/${path}`))
/** A ratchet: lower it when the code allows it. Of the heap alone: what Buffers hold lies outside of it. */
const heapBytesPerEventMax = 3_300
const seed = 1

const path = fileURLToPath(new URL('hot-path-process.ts', import.meta.url))
const tsx = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
const marker = 'startOfMeasuring'
let figures: HotPathFigures
/** Of the second part, as V8 logs them. */
let deoptimised: string[]
/** The same with the names of the functions, in which V8's log has only positions. */
let traced: string[]

beforeAll(async () => {
  const { stdout, log } = await watched()
  const lines = stdout.split('\n')
  figures = JSON.parse(lines.findLast((line) => line.startsWith('{"events"'))!)
  const traceStart = lines.findIndex((line) => line.includes(marker))
  traced = lines.slice(traceStart + 1).filter((line) => line.includes('kind: deopt'))
  const deopts = log.split('\n').filter((line) => line.startsWith('code-deopt,'))
  const start = deopts.findIndex((line) => line.includes('hot-path-process'))
  expect(Math.min(start, traceStart), 'where the second part begins is marked').toBeGreaterThan(0)
  deoptimised = deopts.slice(start + 1).filter(isHot)
  // Before, everything is compiled, and windows begin to slide.
  expect(deopts.slice(0, start).some(isHot), 'the pattern meets what V8 logs').toBe(true)
}, 120_000)

async function watched(): Promise<{ readonly stdout: string; readonly log: string }> {
  const folder = mkdtempSync(join(tmpdir(), 'millrace-'))
  const logFile = join(folder, 'v8.log')
  const watch = [
    '--allow-natives-syntax',
    '--log-deopt',
    '--trace-deopt',
    '--no-logfile-per-isolate',
    `--logfile=${logFile}`,
  ]
  // Few collections, and code that is used is kept.
  const memory = ['--min-semi-space-size=64', '--max-semi-space-size=64', '--no-flush-bytecode']
  const args = [...watch, ...memory, '--import', tsx, path, String(seed)]
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, { maxBuffer: 2 ** 26 })
    return { stdout, log: readFileSync(logFile, 'latin1') }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

describe(`the card-fraud pipeline on mixed events of seed ${seed}, once it is warm`, () => {
  test('has the variety of an ordinary stream', () => {
    expect(figures.predictions).toBeGreaterThan(0.95 * figures.events)
    for (const name of ['late', 'duplicates', 'rejected'] as const) expect(figures[name], name).toBeGreaterThan(5)
  })

  test('deoptimises no function of the hot path', () => {
    expect(deoptimised, `V8's trace of the same time: ${traced.join('\n')}`).toEqual([])
  })

  test(`allocates at most ${heapBytesPerEventMax} bytes of heap for an event`, () => {
    expect(figures.heapBytesPerEvent).toBeGreaterThan(0)
    expect(figures.heapBytesPerEvent).toBeLessThanOrEqual(heapBytesPerEventMax)
  })
})
