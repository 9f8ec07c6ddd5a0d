/**
 * The HTTP load generator, a process of its own: keep-alive connections that each send a request after every answer (closed loop), or
 * requests by a fixed schedule (open loop), where latency counts from the scheduled time. Started by `http-reads.ts` through
 * `helper-process.ts`. It uses plain sockets, because Node's HTTP client would use as much CPU as the measured server.
 */
import { connect, type Socket } from 'node:net'
import { createSchedule, type Schedule } from '../producers/pace.ts'
import { fineClock } from './clock.ts'
import { serveHelper } from './helper-process.ts'
import { createResponseReader } from './response-reader.ts'
import { type LatencyMs, latencyOf } from './statistics.ts'

export interface HttpLoadOrder {
  readonly host: string
  readonly port: number
  /** Whole requests in their wire format, used in turn. */
  readonly requests: readonly string[]
  readonly connections: number
  /** Null: a closed loop. */
  readonly requestsPerSecond: number | null
  readonly warmUpSeconds: number
  /** Without the warm-up. */
  readonly seconds: number
}

export interface HttpLoadAnswer {
  /** Answered with 200 and complete, within the counted seconds. */
  readonly answers: number
  readonly latencyMs: LatencyMs
  /** Of the counted part, ms since 1970. */
  readonly fromMs: number
  readonly untilMs: number
  /**
   * From when a request was due to when the generator noticed it; waiting for a connection counts as the server's. Null in a closed loop.
   */
  readonly sendLagMs: LatencyMs | null
}

const tickMs = 1

serveHelper<HttpLoadOrder, HttpLoadAnswer>(async (order) => {
  const requests = order.requests.map((request) => Buffer.from(request))
  const sockets = await Promise.all(Array.from({ length: order.connections }, () => open(order)))
  return async () => {
    try {
      return await runLoad(order, requests, sockets)
    } finally {
      for (const socket of sockets) socket.destroy()
    }
  }
})

function open({ host, port }: HttpLoadOrder): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port, noDelay: true })
    socket.once('connect', () => resolve(socket))
    socket.once('error', reject)
  })
}

interface LoadState {
  readonly requests: readonly Buffer[]
  readonly beganMs: number
  /** Start of the counted part. */
  readonly fromMs: number
  readonly endMs: number
  /** Null in a closed loop. */
  readonly schedule: Schedule | null
  readonly latencies: number[]
  readonly lags: number[]
  /** Connections without an open request: each sends one that was due at the given time. */
  readonly free: Array<(dueMs: number) => void>
  sent: number
  /** Scheduled requests that were noticed to be due. */
  noticed: number
  unanswered: number
  untilMs: number
}

function runLoad(
  { requestsPerSecond, warmUpSeconds, seconds }: HttpLoadOrder,
  requests: readonly Buffer[],
  sockets: readonly Socket[],
): Promise<HttpLoadAnswer> {
  const beganMs = fineClock.nowMs()
  const fromMs = beganMs + warmUpSeconds * 1_000
  const state: LoadState = {
    requests,
    beganMs,
    fromMs,
    endMs: fromMs + seconds * 1_000,
    schedule: requestsPerSecond === null ? null : createSchedule({ kind: 'rate', eventsPerSecond: requestsPerSecond }),
    latencies: [],
    lags: [],
    free: [],
    sent: 0,
    noticed: 0,
    unanswered: 0,
    untilMs: fromMs,
  }
  return new Promise((resolve, reject) => {
    const timer = setInterval(() => {
      sendDue(state)
      if (!isAllSent(state) || state.unanswered > 0) return
      clearInterval(timer)
      const { latencies, lags, untilMs } = state
      const latencyMs = latencyOf(latencies)
      if (latencyMs === null) reject(new Error('no request was due in the counted seconds'))
      else resolve({ answers: latencies.length, latencyMs, fromMs, untilMs, sendLagMs: latencyOf(lags) })
    }, tickMs)
    for (const socket of sockets) addConnection(state, socket, reject)
    sendDue(state)
  })
}

/** In a closed loop a request is due as soon as a connection is free. */
function sendDue(state: LoadState): void {
  const { schedule, beganMs, endMs, free } = state
  noticeDue(state)
  for (;;) {
    const nowMs = fineClock.nowMs()
    const dueMs = schedule === null ? nowMs : beganMs + schedule(state.sent, 0)
    if (dueMs >= endMs || dueMs > nowMs || free.length === 0) break
    free.shift()!(dueMs)
  }
}

/** Records how late each scheduled request was noticed. */
function noticeDue(state: LoadState): void {
  const { schedule, beganMs, fromMs, endMs, lags } = state
  const nowMs = fineClock.nowMs()
  for (; schedule !== null; state.noticed++) {
    const dueMs = beganMs + schedule(state.noticed, 0)
    if (dueMs >= endMs || dueMs > nowMs) return
    if (dueMs >= fromMs) lags.push(nowMs - dueMs)
  }
}

function isAllSent({ schedule, beganMs, endMs, sent }: LoadState): boolean {
  return (schedule === null ? fineClock.nowMs() : beganMs + schedule(sent, 0)) >= endMs
}

function addConnection(state: LoadState, socket: Socket, reject: (error: Error) => void): void {
  let dueMs = 0
  const send = (atMs: number) => {
    dueMs = atMs
    state.unanswered++
    socket.write(state.requests[state.sent++ % state.requests.length]!)
  }
  const read = createResponseReader((status) => {
    if (status !== 200) reject(new Error(`a request was answered with status ${status}`))
    addAnswer(state, dueMs)
    state.free.push(send)
    sendDue(state)
  })
  socket.on('data', read)
  socket.once('error', reject)
  socket.once('close', () => reject(new Error('the server closed a connection')))
  state.free.push(send)
}

function addAnswer(state: LoadState, dueMs: number): void {
  const nowMs = fineClock.nowMs()
  state.unanswered--
  if (dueMs < state.fromMs) return
  state.latencies.push(nowMs - dueMs)
  state.untilMs = Math.max(state.untilMs, nowMs)
}
