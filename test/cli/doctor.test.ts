/** The checks of `doctor` on the broker and the store in memory: of a healthy pipeline, and with every fault that they detect. */

import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { createPart, examined } from '../../cli/doctor/check.ts'
import { disorderChecks } from '../../cli/doctor/definition.ts'
import { doctorCommand } from '../../cli/doctor/doctor.ts'
import { identityCheck } from '../../cli/doctor/state.ts'
import { unusedPartitions } from '../../cli/topics/unused-partitions.ts'
import { createStepWrites } from '../../feature-store/step-writes.ts'
import { publishVersion } from '../../online-model/registry/publish-version.ts'
import { encodePosition } from '../../processors/position.ts'
import type { Broker } from '../../runtime/broker.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { compile } from '../../schemas/plan/compile.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { ModelVersion } from '../../schemas/wire/records.ts'
import { createPipelineRunner, type PipelineRunner } from '../../testing/index.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'
import { scratchFolder } from './call.ts'
import { soundRedis } from './sound-redis.ts'

const definition = 'test/cli/fixtures/clicks.ts'
const group = 'clicks'
const startMs = clicksStartMs + 3_600_000
const rebuild = `millrace run ${definition} --rebuild`
const server = soundRedis(startMs)

/** Of the process and the audit that it asks: one may well run on this machine, at the ports of the defaults. */
const unusedPorts = { MILLRACE_HTTP_PORT: '64998', MILLRACE_AUDIT_PORT: '64999' }

interface Options {
  readonly env?: Readonly<Record<string, string>>
  readonly openBroker?: () => Broker
  readonly url?: string
  readonly json?: string
}

async function setUp(
  settings: Readonly<Record<string, string>> = { 'retention.ms': '-1', 'max.message.bytes': '2097152' },
) {
  const runner = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 2, startMs })
  // The topics of the runner have what a stock Kafka has.
  const broker: Broker = {
    ...runner.broker,
    admin: {
      ...runner.broker.admin,
      topicSettings: async (topics, names) => {
        const found = await runner.broker.admin.topicSettings(topics, names)
        return new Map([...found].map(([topic, has]) => [topic, new Map([...has, ...Object.entries(settings)])]))
      },
    },
    close: async () => undefined,
  }
  return { runner, broker }
}

async function examine({ runner, broker }: { runner: PipelineRunner; broker: Broker }, options: Options = {}) {
  const out: string[] = []
  const code = await doctorCommand(
    definition,
    { ...(options.url === undefined ? {} : { url: options.url }), ...(options.json ? { json: options.json } : {}) },
    {
      env: { KAFKA_BROKERS: 'kafka:9092', REDIS_URL: 'redis://cache:6379', ...unusedPorts, ...options.env },
      terminal: { out: (line) => void out.push(line), err: (line) => void out.push(line) },
      clock: { ...runner.clock, elapsedMs: () => 0 },
      openBroker: options.openBroker ?? (() => broker),
      openStore: async () => ({
        ...runner.store,
        close: async () => undefined,
        server: async () => ({ ...server, clockMs: runner.clock.nowMs() }),
      }),
      fetch,
    },
  )
  /** The lines of one name. */
  const lines = (name: string) => out.filter((line) => line.slice(6).startsWith(`${name}:`))
  return { code, out, lines }
}

/** Twenty clicks in two rounds through both stages and all partitions, with the process still at work. */
async function atWork() {
  const subject = await setUp()
  const { runner } = subject
  const started = runner.start({ group, name: 'worker-1' })
  for (const round of [0, 1]) {
    const clicks = Array.from({ length: 10 }, (_, n) =>
      click(`c${round}.${n}`, `u${n}`, round * 10 + n, { page: `p${n}` }),
    )
    await runner.sendAll(clicks)
    await started.until('all are predicted', () => started.metrics.totals.predictions === 10 * (round + 1))
  }
  return { ...subject, started }
}

async function stopped() {
  const subject = await atWork()
  await subject.started.stop()
  return subject
}

describe('a pipeline that is well', () => {
  test('has a line for everything', async () => {
    const subject = await atWork()
    const json = join(await scratchFolder(), 'checks.json')
    const { code, out, lines } = await examine(subject, { json })
    const { fingerprint, stateFingerprint } = subject.runner.plan
    expect(out.filter((line) => !/^.{6}(?:node|disk|memory|process|lag|position|skew)\b/.test(line))).toEqual([
      'ok    configuration: no namespace, worker worker-1.',
      'ok    definition: clicks version 1: streams clicks, refunds; entities user, page; 6 features; ' +
        `definition ${fingerprint}, state ${stateFingerprint}.`,
      'ok    schemas: no schema files in schemas/clicks to compare with.',
      'ok    kafka: cluster memory answers at kafka:9092 and supports every request that Millrace sends, ' +
        'transactions fenced by the group (KIP-447) among them.',
      'ok    topics: all 8 exist as the pipeline needs them.',
      "ok    kafka clock: by its records not ahead of this machine's; whether it is behind cannot be checked without writing one.",
      'ok    group: 1 process in clicks: worker-1 on memory has page 0 1, user 0 1.',
      'ok    redis: Redis 7.0.15 answers at cache:6379 in 0.0 ms.',
      'ok    redis memory: 1.0 MB used, no maxmemory.',
      'ok    redis policy: maxmemory-policy is noeviction.',
      'ok    redis persistence: append-only file is on.',
      "ok    redis clock: 0.0 s ahead of this machine's clock.",
      'ok    state user: 2 of 2 partitions hold state of this definition, cluster and partition count.',
      'ok    state page: 2 of 2 partitions hold state of this definition, cluster and partition count.',
      'ok    order user: no event was late, none was released early.',
      'ok    order page: no event was late, none was released early.',
      'ok    rejected clicks: none of the last 20 events was rejected.',
      'ok    rejected refunds: no event was processed yet.',
      `warn  registry: there is no champion: predictions carry no score. Once labels are mature, type: millrace train ${definition}`,
      'ok    scores: there is no champion that fits this definition, so none of its predictions is scored yet.',
      '27 ok, 2 warn, 0 FAIL.',
    ])
    for (const name of ['node', 'disk', 'memory', 'lag user', 'lag page', 'position user', 'position page', 'skew']) {
      expect(lines(name)).toHaveLength(1)
      expect(lines(name)[0]).toMatch(/^ok /)
    }
    expect(code).toBe(0)
    const { checks } = JSON.parse(await readFile(json, 'utf8')) as { checks: Array<Record<string, string>> }
    expect(checks).toHaveLength(29)
    expect(checks.find(({ name }) => name === 'redis policy')).toEqual({
      name: 'redis policy',
      status: 'ok',
      message: 'maxmemory-policy is noeviction.',
    })
    expect(checks.find(({ name }) => name === 'registry')).toEqual({
      name: 'registry',
      status: 'warn',
      message: 'there is no champion: predictions carry no score.',
      remedy: `Once labels are mature, type: millrace train ${definition}`,
    })
    await subject.started.stop()
  })

  test('is inspected without being disturbed', async () => {
    const subject = await atWork()
    await examine(subject)
    await subject.runner.send('clicks', click('later', 'u1', 30).values)
    await subject.started.until('the next is predicted', () => subject.started.metrics.totals.predictions === 21)
    await subject.started.stop()
  })

  test('is equal in Redis and Kafka once it has stopped', async () => {
    const { lines } = await examine(await stopped())
    expect(lines('position user')).toEqual(["ok    position user: partitions 0, 1 equal to Kafka's committed offsets."])
    expect(lines('position page')).toEqual(["ok    position page: partitions 0, 1 equal to Kafka's committed offsets."])
  })

  test('that never ran holds nothing', async () => {
    const { code, lines } = await examine(await setUp())
    expect(lines('state user')).toEqual(['ok    state user: Redis holds nothing yet.'])
    expect(lines('position user')).toEqual(['ok    position user: partitions 0, 1 not started.'])
    expect(lines('lag user')).toEqual(['ok    lag user: nothing unread in 2 partitions.'])
    expect(lines('kafka clock')).toEqual([
      'ok    kafka clock: nothing was appended yet, so there is no record to compare with.',
    ])
    expect(lines('group')).toEqual([
      'warn  group: group clicks has no members: no event is processed. Start a process: millrace run.',
    ])
    expect(code).toBe(0)
  })
})

describe('topics', () => {
  test('with other settings are reported with the command that repairs them', async () => {
    const { code, lines } = await examine(
      await setUp({ 'cleanup.policy': 'compact', 'retention.ms': '-1', 'max.message.bytes': '2097152' }),
    )
    expect(code).toBe(1)
    expect(lines('topics')).toHaveLength(8)
    expect(lines('topics')[0]).toBe(
      'FAIL  topics: clicks: cleanup.policy expected delete, received compact. Type: kafka-configs --bootstrap-server ' +
        'kafka:9092 --alter --entity-type topics --entity-name clicks --add-config cleanup.policy=delete',
    )
  })

  test('that do not exist are reported, and what needs them is not checked', async () => {
    const { runner } = await setUp()
    const broker = createMemoryBroker({ clock: runner.clock })
    const { code, lines } = await examine({ runner, broker })
    expect(code).toBe(1)
    expect(lines('topics')[1]).toBe(
      `FAIL  topics: refunds: it does not exist. Type: millrace topics ${definition} --create`,
    )
    expect(lines('lag user')).toEqual([
      'warn  lag user: not checked: it needs clicks, refunds with the same partitions. Fix that first.',
    ])
    expect(lines('registry')).toEqual(['warn  registry: not checked: it needs clicks.models. Fix that first.'])
  })
})

describe('lag', () => {
  test('that no process consumes is reported with its age', async () => {
    const subject = await setUp()
    await subject.runner.sendAll(Array.from({ length: 3 }, (_, n) => click(`c${n}`, 'u', n)))
    await subject.runner.clock.sleep(90_000)
    const { lines } = await examine(subject)
    expect(lines('lag user')).toEqual([
      'warn  lag user: 3 unread in 2 partitions (1: 3), the oldest for 90 s. ' +
        `Start a process: millrace run ${definition}`,
    ])
  })

  test('that is old beside a process at work has another message, a young one is healthy', async () => {
    const subject = await setUp()
    const { runner } = subject
    // A member that reads nothing.
    const worker = await runner.broker.groups.worker({
      group,
      worker: 'idle',
      stages: [{ stage: 'user', topics: ['clicks'], partitions: 2 }],
      sessionTimeoutMs: 600_000,
      transactionTimeoutMs: 10_000,
    })
    await worker.join()
    await runner.send('clicks', click('c', 'u', 1).values)
    await runner.clock.sleep(2_000)
    expect((await examine(subject)).lines('lag user')).toEqual([
      'ok    lag user: 1 unread in 2 partitions (1: 1), the oldest for 2 s.',
    ])
    await runner.clock.sleep(60_000)
    expect((await examine(subject)).lines('lag user')).toEqual([
      'warn  lag user: 1 unread in 2 partitions (1: 1), the oldest for 62 s. ' +
        'More processes share the partitions: start another, or see the log of those that run.',
    ])
  })

  test('that retention has cut off is a failure', async () => {
    const subject = await stopped()
    const { runner } = subject
    const [busy] = (
      await runner.broker.data.bounds([0, 1].map((partition) => ({ topic: 'clicks', partition })))
    ).filter(({ end }) => end > 0)
    const more = Array.from({ length: 5 }, (_, n) => click(`m${n}`, `u${n % 3}`, 20 + n))
    await runner.sendAll(more)
    const [bound] = await runner.broker.data.bounds([busy!])
    runner.broker.truncate('clicks', busy!.partition, bound!.end)
    const { code, lines } = await examine(subject)
    expect(code).toBe(1)
    expect(lines('lag user')[0]).toMatch(
      new RegExp(
        `^FAIL  lag user: retention has removed \\d+ offsets before they were read, in partitions ${busy!.partition}\\. ` +
          `Start with --rebuild: ${rebuild.replaceAll('.', '\\.')}$`,
      ),
    )
  })
})

describe('stored state', () => {
  const looked = async (subject: Awaited<ReturnType<typeof stopped>>) => {
    const { code, lines } = await examine(subject)
    return [code, ...lines('state user'), ...lines('position user')]
  }

  test('of another cluster is recognised before a start', async () => {
    const subject = await stopped()
    const elsewhere: Broker = {
      ...subject.broker,
      admin: { ...subject.broker.admin, clusterId: async () => 'other' },
    }
    expect((await looked({ ...subject, broker: elsewhere })).slice(0, 2)).toEqual([
      1,
      'FAIL  state user: it belongs to Kafka cluster memory, this one is other: the offsets of one mean nothing in the other. ' +
        `Set KAFKA_BROKERS to the cluster it belongs to, or MILLRACE_NAMESPACE to a new name, or rebuild it: ${rebuild}`,
    ])
  })

  test('of another partition count is recognised before a start', async () => {
    const { runner, broker } = await stopped()
    const wider = await createPipelineRunner({ pipeline: clicksPipeline(), partitions: 4, startMs })
    const grown: Broker = {
      ...wider.broker,
      admin: { ...wider.broker.admin, topicSettings: broker.admin.topicSettings },
      close: async () => undefined,
    }
    expect((await looked({ runner, broker: grown } as never)).slice(0, 2)).toEqual([
      1,
      'FAIL  state user: it was made with 2 partitions, the topics have 4: keys are in other partitions now. ' +
        `Set MILLRACE_NAMESPACE to a new name, or rebuild it from what Kafka still holds: ${rebuild}`,
    ])
  })

  test('of another layout and of a rebuild that did not end', async () => {
    const expected = { clusterId: 'memory', stateFingerprint: 'b', partitions: 1 }
    const checkOf = (identity: Parameters<typeof identityCheck>[1][number]['identity']) =>
      identityCheck('state user', [{ owner: '1:0', position: 'p', identity }], expected, definition)
    expect(checkOf({ ...expected, stateFingerprint: 'a' })).toEqual({
      name: 'state user',
      status: 'fail',
      message:
        'it was made by another definition (state a; this one has b): ' +
        'its streams, keys, the columns or the layout of its facts, or their retention are others.',
      remedy: `Start with the definition it belongs to, or set MILLRACE_NAMESPACE to a new name, or rebuild it: ${rebuild}`,
    })
    expect(checkOf('clearing')).toEqual({
      name: 'state user',
      status: 'fail',
      message: 'a rebuild of partitions 0 was started and not finished.',
      remedy: `Unless one is running, type:  ${rebuild}`,
    })
  })

  test('that lost its tail is behind', async () => {
    const subject = await stopped()
    subject.runner.store.loseTail('user', 0, 1)
    expect((await looked(subject))[2]).toBe(
      "ok    position user: partitions 1 equal to Kafka's committed offsets; " +
        'partitions 0 behind them (caught up from Kafka at the next start, without publishing).',
    )
  })

  test('that was emptied is folded again from the start', async () => {
    const subject = await stopped()
    subject.runner.store.empty()
    expect((await looked(subject)).slice(0, 3)).toEqual([
      0,
      'ok    state user: Redis holds nothing yet.',
      'ok    position user: partitions 0, 1 empty in Redis (rebuilt from the start of the topics at the next start).',
    ])
  })

  test('that lost its tail, where retention has removed what is between', async () => {
    const subject = await stopped()
    const { runner } = subject
    const busy = (await runner.broker.data.bounds([0, 1].map((partition) => ({ topic: 'clicks', partition })))).find(
      ({ end }) => end > 0,
    )!
    const { identity } = await runner.store.inspect('user', busy.partition)
    const task = await runner.store.claim('user', busy.partition, 'x', identity as never, { rebuild: true })
    const frontier = { time: Number.NEGATIVE_INFINITY, order: -1 }
    const at = { resumeOffset: 0, nextOffset: 0, maxEventTime: Number.NEGATIVE_INFINITY }
    const inputs = subject.runner.plan.stages[0]!.rawStreams.map(() => at)
    await task.apply({
      from: null,
      to: encodePosition({ frontier, retentionWatermark: frontier.time, inputs }),
      writes: createStepWrites(),
    })
    runner.broker.truncate('clicks', busy.partition, busy.end)
    expect((await looked(subject))[2]).toBe(
      `FAIL  position user: Redis is behind Kafka's committed offsets in partitions ${busy.partition}, and retention has ` +
        `removed what is between. Rebuild the state: ${rebuild}`,
    )
  })

  test('that is ahead of Kafka', async () => {
    const subject = await stopped()
    const forgetful: Broker = {
      ...subject.broker,
      groups: {
        ...subject.broker.groups,
        committedOffsets: async (_, partitions) => partitions.map((at) => ({ ...at, offset: null, metadata: '' })),
      },
    }
    const [code, , line] = await looked({ ...subject, broker: forgetful })
    expect([code, line]).toEqual([
      1,
      "FAIL  position user: Redis is AHEAD of Kafka's committed offsets in partitions 0, 1: Kafka lost data or its offsets expired. " +
        `Rebuild the state: ${rebuild}`,
    ])
  })
})

describe('a part that is down', () => {
  test('settings and addresses', async () => {
    const { openBroker } = await import('../../cli/context.ts')
    const subject = await setUp()
    const out: string[] = []
    const code = await doctorCommand(
      definition,
      {},
      {
        env: { MILLRACE_WORKR: 'a' },
        terminal: { out: (line) => void out.push(line), err: (line) => void out.push(line) },
        clock: subject.runner.clock,
        openBroker,
        fetch,
      },
    )
    expect(code).toBe(1)
    expect(out.filter((line) => line.startsWith('FAIL'))).toEqual([
      'FAIL  configuration: 1 setting is wrong:\n' +
        '        MILLRACE_WORKR: expected a setting of Millrace; the nearest is MILLRACE_WORKER, received an unknown name\n' +
        '      Fix each listed variable.',
      'FAIL  kafka: KAFKA_BROKERS is not set: expected the host:port of a Kafka broker, such as KAFKA_BROKERS=localhost:9092. ' +
        'Fix each listed variable.',
      'FAIL  redis: REDIS_URL is not set: expected redis://host:port, such as REDIS_URL=redis://localhost:6379. ' +
        'Fix each listed variable.',
    ])
    expect(out).toContain('warn  state user: not checked: it needs Kafka. Fix that first.')
  })

  test('a definition that does not compile', async () => {
    const subject = await setUp()
    const out: string[] = []
    await doctorCommand(
      'test/cli/fixtures/broken.ts',
      {},
      {
        env: {},
        terminal: { out: (line) => void out.push(line), err: (line) => void out.push(line) },
        clock: subject.runner.clock,
        openBroker: () => subject.broker,
        fetch,
      },
    )
    expect(out).toContain(
      'FAIL  definition: test/cli/fixtures/broken.ts cannot be loaded: the fixture throws. ' +
        'Fix each listed path in the definition file.',
    )
    expect(out).toContain('warn  topics: not checked: it needs a definition that compiles. Fix that first.')
    expect(out.some((line) => line.startsWith('ok    kafka: cluster memory'))).toBe(true)
  })

  test('that never answers is waited for in bounds', async () => {
    const never = () => new Promise<never>(() => undefined)
    const asked: number[] = []
    const over = (ms: number) => {
      asked.push(ms)
      return { reached: Promise.resolve('late' as const), cancel: () => undefined }
    }
    const kafka = createPart('Kafka', async () => undefined, never, over)
    const topics = createPart('the topics', kafka.needed, never, over)
    const check = async (examine: () => Promise<never>) => examined({ name: 'it', examine })
    expect(await check(kafka.open)).toEqual([
      {
        name: 'it',
        status: 'fail',
        message: 'no answer within 8 s.',
        remedy: 'Check whether it is overloaded or blocked by a firewall.',
      },
    ])
    const dependent = {
      name: 'it',
      status: 'warn',
      message: 'not checked: it needs Kafka.',
      remedy: 'Fix that first.',
    }
    expect(await check(topics.open)).toEqual([dependent])
    expect(await check(topics.needed)).toEqual([dependent])
    expect(asked).toEqual([8_000])
    expect(await examined({ name: 'it', examine: never }, over)).toMatchObject([{ message: 'no answer within 20 s.' }])
  })
})

describe('a running process', () => {
  async function serving(status: number, body: object): Promise<string> {
    const http = createServer((_, response) => {
      response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
    })
    http.listen(0, '127.0.0.1')
    await once(http, 'listening')
    onTestFinished(() => void http.close())
    return `http://127.0.0.1:${(http.address() as AddressInfo).port}`
  }

  test('is ready', async () => {
    const tasks = [
      { stage: 'user', partition: 0 },
      { stage: 'page', partition: 1 },
    ]
    const url = await serving(200, { status: 'ready', tasks })
    const { lines } = await examine(await setUp(), { url })
    expect(lines('process')).toEqual([`ok    process: ready at ${url} with 2 tasks: user 0, page 1.`])
  })

  test('is of another pipeline', async () => {
    const url = await serving(200, { status: 'ready', tasks: [{ stage: 'airport', partition: 0 }] })
    const { lines } = await examine(await setUp(), { url })
    expect(lines('process')).toEqual([
      `warn  process: the process at ${url} is none of clicks: it has a task of airport. Name the address of one of this pipeline: --url.`,
    ])
  })

  test('is not ready', async () => {
    const reasons = [{ part: 'tasks', reason: 'no task is open yet' }]
    const url = await serving(503, { status: 'not ready', reasons })
    const { code, lines } = await examine(await setUp(), { url })
    expect(lines('process')).toEqual([
      `FAIL  process: not ready at ${url}: tasks: no task is open yet. See its log; the reasons are listed above.`,
    ])
    expect(code).toBe(1)
  })

  test('is not there, where one was named', async () => {
    const { code, lines } = await examine(await setUp(), { url: 'http://127.0.0.1:1' })
    expect(lines('process')[0]).toMatch(
      /^FAIL {2}process: no Millrace process answers at http:\/\/127\.0\.0\.1:1 \(.+\)\. Start one: millrace run /,
    )
    expect(code).toBe(1)
  })
})

test('the clock of Kafka ahead of this one shows in its records', async () => {
  const subject = await setUp()
  await subject.runner.send('clicks', click('c', 'u', 1).values)
  const slow = { ...subject.runner, clock: { ...subject.runner.clock, nowMs: () => startMs - 5_000 } }
  expect((await examine({ ...subject, runner: slow })).lines('kafka clock')).toEqual([
    "warn  kafka clock: there are records with an append time more than 2 s ahead of this machine's clock. " +
      'Synchronize both machines with NTP.',
  ])
})

describe('the registry', () => {
  const zeros = [0, 0, 0, 0, 0, 0]
  const version = (fingerprint: string, features: readonly string[]): ModelVersion => ({
    kind: 'version',
    version: 'v1',
    createdAtMs: startMs,
    fingerprint,
    seed: 0,
    model: { kind: 'logistic', features, means: zeros, scales: zeros, weights: zeros, intercept: 0 },
    metrics: {},
    trainedOn: [],
    parent: null,
    origin: 'manual',
  })
  async function withChampion(fingerprintOf: (plan: Plan) => string) {
    const subject = await setUp()
    const { plan, broker } = subject.runner
    const { topic, codec } = plan.models
    const more = {
      version: version(
        fingerprintOf(plan),
        plan.features.map(({ name }) => name),
      ),
      previous: null,
      by: 'a test',
      reason: 'r',
      changedAtMs: startMs,
    }
    await publishVersion(await broker.data.producer(), { topic, codec, ...more })
    return { plan, lines: (await examine(subject)).lines('registry') }
  }

  test('has a champion of another definition', async () => {
    const { plan, lines } = await withChampion(() => 'f00d')
    expect(lines).toEqual([
      `warn  registry: champion v1 does not fit this definition: it was trained on definition f00d, this one is ${plan.fingerprint}. ` +
        'Predictions carry no score until a model is trained on it (docs/evolving.md: how to train it before the switch). ' +
        `Once labels are mature, type: millrace train ${definition}`,
    ])
  })

  test('has a champion of this one', async () => {
    const { lines } = await withChampion(({ fingerprint }) => fingerprint)
    expect(lines).toEqual([
      'ok    registry: champion is v1 of 2024-01-01T01:00:00.000Z, trained on this definition; 1 versions.',
    ])
  })
})

test('a declared disorder is said to cost as much delay, and partitions that were set in vain are named', async () => {
  const { streams } = compile(clicksPipeline({ disorder: '30s' }))
  expect(disorderChecks(streams)).toEqual([
    {
      name: 'disorder',
      status: 'ok',
      message:
        'an event waits until its partition is so far beyond it, or has been at its end for so long: clicks 30s. Predictions come up ' +
        'to 30s later for it.',
    },
  ])
  expect(disorderChecks(compile(clicksPipeline()).streams)).toEqual([])
  const found = { topic: 'clicks', found: 2 }
  expect(unusedPartitions({ MILLRACE_PARTITIONS: '8' }, found)).toBe(
    'MILLRACE_PARTITIONS=8 has no effect: clicks exists with 2 partitions, and the setting is for topics that are created',
  )
  for (const env of [{}, { MILLRACE_PARTITIONS: '2' }]) expect(unusedPartitions(env, found)).toBeNull()
  expect(unusedPartitions({ MILLRACE_PARTITIONS: '8' }, { topic: 'clicks', found: null })).toBeNull()
  const subject = await atWork()
  const { lines } = await examine(subject, { env: { MILLRACE_PARTITIONS: '8' } })
  expect(lines('partitions')[0]).toMatch(
    /^warn {2}partitions: MILLRACE_PARTITIONS=8 has no effect: clicks exists with 2/,
  )
})
