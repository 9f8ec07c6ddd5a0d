/**
 * A process of its own inside this one: the broker, the store and the clock as one worker sees them. Each call travels, may be slow or
 * lost, and is answered only while the process runs: killed, nothing of it goes on any more; paused, nothing until it is resumed; cut off,
 * it reaches nobody. What was sent before reaches its server all the same. Created by `run-with-faults.ts`, one for each start of a worker.
 */
import type { FeatureStore, Step, TaskStore } from '../feature-store/store.ts'
import type { Broker, Fetcher, OffsetToCommit, Producer, Worker } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { MemoryBroker, MemoryWorker } from '../runtime/memory/broker.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { CallFate, CallKind } from './call-fates.ts'

/** Whether the servers answer. A store that is full takes no writes. */
export interface Servers {
  broker: 'up' | 'down'
  store: 'up' | 'down' | 'full'
}

export interface ProcessOptions {
  /** In traces: the worker's name and how often it was started. */
  readonly name: string
  readonly clock: Clock
  readonly broker: MemoryBroker
  readonly store: FeatureStore
  readonly servers: Servers
  readonly fateOf: (kind: CallKind) => CallFate
  /** A call was executed, and its answer is on the way. */
  readonly onCall: (process: SimulatedProcess, kind: CallKind, fate: CallFate, failure: unknown) => void
  readonly observer: Observer
}

/** Hears what the servers have taken, at the moment in which it counts. */
export interface Observer {
  committed?(offsets: readonly OffsetToCommit[]): void
  /** The step was not refused. */
  applied?(entity: string, partition: number, step: Step): void
  trace?(who: string, what: string): void
}

export interface SimulatedProcess {
  readonly name: string
  readonly clock: Clock
  readonly broker: Broker
  readonly store: FeatureStore
  readonly state: 'running' | 'paused' | 'dead'
  /** Calls of a batch that are not answered yet. */
  readonly callsUnderWay: number
  readonly isCutOff: boolean
  kill(): void
  pause(): void
  resume(): void
  cutOff(isCutOff: boolean): void
  /** Whether a producer with this token is of this process. */
  owns(owner: string): boolean
  /** Passed by each transaction on its way; see `OnTransact`. */
  onTransact(stage: 'begin' | 'committed'): Promise<void>
}

const never = new Promise<never>(() => undefined)

export function createSimulatedProcess(options: ProcessOptions): SimulatedProcess {
  const { name, clock, broker, store, servers, observer } = options
  let state: SimulatedProcess['state'] = 'running'
  let isCutOff = false
  let callsUnderWay = 0
  let paused: Array<() => void> = []
  const workers = new Map<string, MemoryWorker>()
  /** The transaction under way. */
  let transaction: { readonly offsets: readonly OffsetToCommit[]; readonly fate: CallFate } | null = null
  /** The store is called on one connection: requests arrive in the order in which they were sent, and so do answers. */
  const storeCalls: Line = { arrival: Promise.resolve(), answer: Promise.resolve() }

  /** Resolves while the process runs. */
  async function passage(): Promise<void> {
    while (state === 'paused') await new Promise<void>((pass) => paused.push(pass))
    if (state === 'dead') await never
  }

  function unreachable(kind: CallKind, why: string): PipelineError {
    const code = isOfStore(kind) ? 'redis_unreachable' : 'kafka_unreachable'
    return new PipelineError(code, `${why} (${kind} of ${name})`)
  }

  /** Why the servers do not answer at all. */
  function outage(kind: CallKind): PipelineError | null {
    if (isCutOff) return unreachable(kind, 'cut off')
    const server = isOfStore(kind) ? servers.store : servers.broker
    if (server === 'down') return unreachable(kind, 'the server is down')
    if (server === 'full' && (kind === 'apply' || kind === 'claim'))
      return new PipelineError('redis_request_failed', `OOM command not allowed (${kind} of ${name})`)
    return null
  }

  async function executed<T>(kind: CallKind, fate: CallFate, execute: () => Promise<T>): Promise<() => T> {
    try {
      const failure = outage(kind)
      if (failure) throw failure
      if (fate.lost === 'request') throw unreachable(kind, 'the request was lost')
      let value = await execute()
      if (fate.isTwice) value = await execute()
      if (fate.lost === 'answer') throw unreachable(kind, 'the answer was lost')
      options.onCall(self, kind, fate, null)
      return () => value
    } catch (error) {
      options.onCall(self, kind, fate, error)
      return () => {
        throw error
      }
    }
  }

  async function call<T>(
    kind: CallKind,
    execute: () => Promise<T>,
    line: Line = { arrival: Promise.resolve(), answer: Promise.resolve() },
    fate = options.fateOf(kind),
  ): Promise<T> {
    const isOfBatch = kind === 'load' || kind === 'apply' || kind === 'transact'
    if (isOfBatch) callsUnderWay++
    const answer = travel(line.arrival, fate.requestMs).then(() => executed(kind, fate, execute))
    line.arrival = answer.then(() => undefined)
    const arrived = Promise.all([answer, line.answer]).then(([got]) => travel(got, fate.answerMs))
    line.answer = arrived.then(() => undefined)
    const got = await arrived
    await passage()
    if (isOfBatch) callsUnderWay--
    return got()
  }

  async function travel<T>(before: Promise<T> | T, ms: number): Promise<T> {
    await clock.sleep(ms)
    return before
  }

  async function openTaskStore(opened: TaskStore, entity: string, partition: number): Promise<TaskStore> {
    return {
      get position() {
        return opened.position
      },
      load: (keys) => call('load', () => opened.load(keys), storeCalls),
      apply: (step) =>
        call(
          'apply',
          async () => {
            await opened.apply(step)
            observer.applied?.(entity, partition, step)
          },
          storeCalls,
        ),
    }
  }

  function openWorker(opened: MemoryWorker): Worker {
    workers.set(opened.owner, opened)
    if (state === 'dead') opened.crash()
    return {
      owner: opened.owner,
      isCurrent: (membership) => opened.isCurrent(membership),
      join: () => call('join', opened.join),
      committed: (partitions) => call('other', () => opened.committed(partitions)),
      transact(records, offsets, membership) {
        const fate = options.fateOf('transact')
        const transact = () => {
          transaction = { offsets, fate }
          return opened.transact(records, offsets, membership)
        }
        return call('transact', transact, undefined, fate)
      },
      publish: (records) => call('other', () => opened.publish(records)),
      commitOffsets: (offsets, membership) => call('other', () => opened.commitOffsets(offsets, membership)),
      leave: () => call('other', () => opened.leave()),
      close: () => opened.close(),
    }
  }

  const self: SimulatedProcess = {
    name,
    get state() {
      return state
    },
    get callsUnderWay() {
      return callsUnderWay
    },
    get isCutOff() {
      return isCutOff
    },
    clock: {
      nowMs: clock.nowMs,
      elapsedMs: clock.elapsedMs,
      sleep: (ms) => clock.sleep(ms).then(passage),
      turn: () => clock.turn().then(passage),
    },
    broker: {
      clusterId: () => call('other', () => broker.clusterId()),
      ensureTopics: (specs) => call('other', () => broker.ensureTopics(specs)),
      partitionCounts: (topics) => call('other', () => broker.partitionCounts(topics)),
      requireRights: (needed) => call('other', () => broker.requireRights(needed)),
      topicSettings: (topics, names) => call('other', () => broker.topicSettings(topics, names)),
      bounds: (partitions) => call('other', () => broker.bounds(partitions)),
      offsetsAt: (partitions, timeMs) => call('other', () => broker.offsetsAt(partitions, timeMs)),
      group: (group) => call('other', () => broker.group(group)),
      committedOffsets: (group, partitions) => call('other', () => broker.committedOffsets(group, partitions)),
      async fetcher() {
        const opened = await call('other', () => broker.fetcher())
        const fetcher: Fetcher = {
          fetch: (from, limits) => call('fetch', () => opened.fetch(from, limits)),
          close: () => opened.close(),
        }
        return fetcher
      },
      async producer() {
        const opened = await call('other', () => broker.producer())
        const producer: Producer = {
          send: (records) => call('other', () => opened.send(records)),
          close: () => opened.close(),
        }
        return producer
      },
      worker: (workerOptions) => call('other', async () => openWorker(await broker.worker(workerOptions))),
      removeWorker: (group, worker) => call('other', () => broker.removeWorker(group, worker)),
      // The broker is everybody's: it goes on when one process ends.
      close: async () => undefined,
    },
    store: {
      claim: (entity, partition, owner, identity, claimOptions) =>
        call(
          'claim',
          async () =>
            openTaskStore(await store.claim(entity, partition, owner, identity, claimOptions), entity, partition),
          storeCalls,
        ),
      read: (entity, partition, keys) => call('load', () => store.read(entity, partition, keys), storeCalls),
      look: (entity, partition) => call('load', () => store.look(entity, partition), storeCalls),
      ping: () => call('load', () => store.ping(), storeCalls),
      close: async () => undefined,
    },
    kill() {
      state = 'dead'
      paused = []
      for (const worker of workers.values()) worker.crash()
    },
    pause() {
      if (state !== 'running') return
      state = 'paused'
      for (const worker of workers.values()) worker.pause()
    },
    resume() {
      if (state !== 'paused') return
      state = 'running'
      for (const worker of workers.values()) if (!isCutOff) worker.resume()
      const passing = paused
      paused = []
      for (const pass of passing) pass()
    },
    cutOff(value) {
      isCutOff = value
      for (const worker of workers.values()) {
        if (isCutOff) worker.pause()
        else if (state === 'running') worker.resume()
      }
    },
    owns: (owner) => workers.has(owner),
    async onTransact(stage) {
      if (transaction === null) return
      const { fate, offsets } = transaction
      if (stage === 'committed') return observer.committed?.(offsets)
      // The records are sent, the end of the transaction is not: here the process may be killed, paused or cut off.
      await clock.sleep(fate.openMs)
      await passage()
      if (isCutOff) await stranded()
      if (fate.isAborted) throw new PipelineError('transaction_aborted', `the broker gave up on it (${name})`)
    },
  }

  /** Nothing more of the transaction arrives: it is open until it times out or a successor comes. */
  async function stranded(): Promise<void> {
    while (isCutOff) {
      await clock.sleep(20)
      await passage()
    }
    for (const worker of workers.values()) worker.crash()
    throw new PipelineError('kafka_unreachable', `cut off in the middle (${name})`)
  }

  return self
}

/** Calls of one connection. */
interface Line {
  arrival: Promise<void>
  answer: Promise<void>
}

function isOfStore(kind: CallKind): boolean {
  return kind === 'claim' || kind === 'load' || kind === 'apply'
}
