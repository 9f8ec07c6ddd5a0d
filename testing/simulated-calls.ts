/**
 * One call of a simulated process: its request travels, is executed or lost, and its answer travels back and is delivered only while the
 * process runs. Called for every method of the broker and the store as a process sees them.
 */
import type { FeatureStore, Step } from '../feature-store/store.ts'
import type { OffsetToCommit } from '../runtime/broker.ts'
import type { Clock } from '../runtime/clock.ts'
import type { MemoryBroker, MemoryWorker } from '../runtime/memory/broker.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { CallKind, CallOutcome } from './call-outcomes.ts'

/** Whether the servers answer. A store that is full rejects writes. */
export interface Servers {
  broker: 'up' | 'down'
  store: 'up' | 'down' | 'full'
}

/** Notified of what the servers have accepted, at the moment in which it takes effect. */
export interface Observer {
  committed?(offsets: readonly OffsetToCommit[]): void
  /** The step was not rejected. */
  applied?(entity: string, partition: number, step: Step): void
  trace?(who: string, what: string): void
}

export interface ProcessOptions {
  /** In traces: the worker's name and how often it was started. */
  readonly name: string
  readonly clock: Clock
  readonly broker: MemoryBroker
  readonly store: FeatureStore
  readonly servers: Servers
  readonly outcomeOf: (kind: CallKind) => CallOutcome
  /** A call was executed or failed, and its answer is on the way. */
  readonly onCall: (kind: CallKind, failure: unknown) => void
  /** The records and offsets of a transaction are sent, its end is not. */
  readonly onOpenTransaction: () => void
  readonly observer: Observer
}

export interface ProcessState extends ProcessOptions {
  status: 'running' | 'paused' | 'dead'
  isCutOff: boolean
  /** Calls of a batch that are not answered yet. */
  batchCallsInFlight: number
  /** Resolve what waits for a paused process. */
  resumers: Array<() => void>
  /** By owner token. */
  readonly workers: Map<string, MemoryWorker>
  /** The transaction that was sent last. */
  transaction: { readonly offsets: readonly OffsetToCommit[]; readonly outcome: CallOutcome } | null
  readonly storeConnection: Connection
}

/** Requests on one connection arrive in the order in which they were sent, and so do their answers. */
export interface Connection {
  lastRequest: Promise<void>
  lastAnswer: Promise<void>
}

const never = new Promise<never>(() => undefined)

export function createConnection(): Connection {
  return { lastRequest: Promise.resolve(), lastAnswer: Promise.resolve() }
}

/** Resolves while the process runs: never for one that was killed. */
export async function untilRunning(state: ProcessState): Promise<void> {
  while (state.status === 'paused') await new Promise<void>((resume) => state.resumers.push(resume))
  if (state.status === 'dead') await never
}

export async function call<T>(
  state: ProcessState,
  kind: CallKind,
  execute: () => Promise<T>,
  connection: Connection = createConnection(),
  outcome: CallOutcome = state.outcomeOf(kind),
): Promise<T> {
  const isOfBatch = kind === 'load' || kind === 'apply' || kind === 'transact'
  if (isOfBatch) state.batchCallsInFlight++
  const executed = travel(state.clock, connection.lastRequest, outcome.requestMs).then(() =>
    executeCall(state, kind, outcome, execute),
  )
  connection.lastRequest = executed.then(() => undefined)
  const answered = Promise.all([executed, connection.lastAnswer]).then(([answer]) =>
    travel(state.clock, answer, outcome.answerMs),
  )
  connection.lastAnswer = answered.then(() => undefined)
  const answer = await answered
  await untilRunning(state)
  if (isOfBatch) state.batchCallsInFlight--
  return answer()
}

/** A call on the connection to the store. */
export function callStore<T>(state: ProcessState, kind: CallKind, execute: () => Promise<T>): Promise<T> {
  return call(state, kind, execute, state.storeConnection)
}

async function travel<T>(clock: Clock, before: Promise<T> | T, ms: number): Promise<T> {
  await clock.sleep(ms)
  return before
}

/** Never rejects: the failure, like the value, is delivered by the answer. */
async function executeCall<T>(
  state: ProcessState,
  kind: CallKind,
  outcome: CallOutcome,
  execute: () => Promise<T>,
): Promise<() => T> {
  try {
    const failure = outageOf(state, kind)
    if (failure) throw failure
    if (outcome.lost === 'request') throw unreachable(state, kind, 'the request was lost')
    let value = await execute()
    if (outcome.isTwice) value = await execute()
    if (outcome.lost === 'answer') throw unreachable(state, kind, 'the answer was lost')
    state.onCall(kind, null)
    return () => value
  } catch (error) {
    state.onCall(kind, error)
    return () => {
      throw error
    }
  }
}

/** Why a server does not answer at all, or null. */
function outageOf(state: ProcessState, kind: CallKind): PipelineError | null {
  if (state.isCutOff) return unreachable(state, kind, 'cut off')
  const server = isOfStore(kind) ? state.servers.store : state.servers.broker
  if (server === 'down') return unreachable(state, kind, 'the server is down')
  if (server === 'full' && (kind === 'apply' || kind === 'claim'))
    return new PipelineError('redis_request_failed', `OOM command not allowed (${kind} of ${state.name})`)
  return null
}

function unreachable({ name }: ProcessState, kind: CallKind, why: string): PipelineError {
  const code = isOfStore(kind) ? 'redis_unreachable' : 'kafka_unreachable'
  return new PipelineError(code, `${why} (${kind} of ${name})`)
}

function isOfStore(kind: CallKind): boolean {
  return kind === 'claim' || kind === 'load' || kind === 'apply'
}
