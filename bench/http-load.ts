/**
 * The HTTP load generator, a process of its own: keep-alive connections that ask as fast as answers come (closed loop), or requests by a
 * fixed schedule (open loop), where the latency counts from the scheduled instant. Started by `http-reads.ts` through `helper-process.ts`.
 * It speaks on plain sockets, because Node's HTTP client would use as much CPU as the server that is measured.
 */
import { connect, type Socket } from 'node:net'
import { createSchedule } from '../producers/pace.ts'
import { fineClock } from './clock.ts'
import { serveHelper } from './helper-process.ts'
import { createResponseReader } from './response-reader.ts'
import { type LatencyMs, latencyOf } from './statistics.ts'

export interface HttpLoadOrder {
  readonly host: string
  readonly port: number
  /** Whole requests as they go over the wire, used in turn. */
  readonly requests: readonly string[]
  readonly connections: number
  /** Null: as fast as answers come. */
  readonly requestsPerSecond: number | null
  readonly warmUpSeconds: number
  /** Counted ones. */
  readonly seconds: number
}

export interface HttpLoadAnswer {
  /** Answered with 200 and complete, within the counted seconds. */
  readonly answers: number
  readonly latencyMs: LatencyMs
  /** Of the counted part, ms since 1970. */
  readonly fromMs: number
  readonly untilMs: number
  /** From when a request was due to when the generator saw that it was; waiting for a connection is the server's. Null in a closed loop. */
  readonly sendLagMs: LatencyMs | null
}

const tickMs = 1

serveHelper<HttpLoadOrder, HttpLoadAnswer>(async (order) => {
  const requests = order.requests.map((request) => Buffer.from(request))
  const sockets = await Promise.all(Array.from({ length: order.connections }, () => open(order)))
  return async () => {
    try {
      return await load(order, requests, sockets)
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

function load(order: HttpLoadOrder, requests: readonly Buffer[], sockets: readonly Socket[]): Promise<HttpLoadAnswer> {
  const { requestsPerSecond, warmUpSeconds, seconds } = order
  const beganMs = fineClock.nowMs()
  const fromMs = beganMs + warmUpSeconds * 1_000
  const endMs = fromMs + seconds * 1_000
  const dueAfterMs =
    requestsPerSecond === null ? null : createSchedule({ kind: 'rate', eventsPerSecond: requestsPerSecond })
  const latencies: number[] = []
  const lags: number[] = []
  const free: Array<(dueMs: number) => void> = []
  let sent = 0
  /** Requests of the schedule that were seen to be due. */
  let seen = 0
  let untilMs = fromMs

  return new Promise((resolve, reject) => {
    let waiting = 0

    function answered(dueMs: number): void {
      const nowMs = fineClock.nowMs()
      waiting--
      if (dueMs < fromMs) return
      latencies.push(nowMs - dueMs)
      untilMs = Math.max(untilMs, nowMs)
    }

    function serve(socket: Socket): void {
      let dueMs = 0
      const read = createResponseReader((status) => {
        if (status !== 200) reject(new Error(`a request was answered with status ${status}`))
        answered(dueMs)
        free.push(ask)
        askDue()
      })
      const ask = (atMs: number) => {
        dueMs = atMs
        waiting++
        socket.write(requests[sent++ % requests.length]!)
      }
      socket.on('data', read)
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('the server closed a connection')))
      free.push(ask)
    }

    function noticeDue(): void {
      const nowMs = fineClock.nowMs()
      for (; dueAfterMs !== null; seen++) {
        const dueMs = beganMs + dueAfterMs(seen, 0)
        if (dueMs >= endMs || dueMs > nowMs) return
        if (dueMs >= fromMs) lags.push(nowMs - dueMs)
      }
    }

    /** In a closed loop a request is due as soon as a connection is free. */
    function askDue(): void {
      noticeDue()
      for (;;) {
        const nowMs = fineClock.nowMs()
        const dueMs = dueAfterMs === null ? nowMs : beganMs + dueAfterMs(sent, 0)
        if (dueMs >= endMs || dueMs > nowMs || free.length === 0) break
        free.shift()!(dueMs)
      }
    }

    const timer = setInterval(() => {
      askDue()
      const nowMs = fineClock.nowMs()
      const isAllSent = dueAfterMs === null ? nowMs >= endMs : beganMs + dueAfterMs(sent, 0) >= endMs
      if (!isAllSent || waiting > 0) return
      clearInterval(timer)
      const latencyMs = latencyOf(latencies)
      if (latencyMs === null) reject(new Error('no request was due in the counted seconds'))
      else resolve({ answers: latencies.length, latencyMs, fromMs, untilMs, sendLagMs: latencyOf(lags) })
    }, tickMs)
    for (const socket of sockets) serve(socket)
    askDue()
  })
}
