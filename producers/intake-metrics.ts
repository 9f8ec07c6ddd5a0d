/** What the HTTP intake shows of itself in Prometheus: events by what became of them, requests by status, what waits for Kafka. */
import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Load } from './backlog.ts'
import type { EventResult } from './take-events.ts'

export interface IntakeMetrics {
  /** Kafka has acknowledged these. */
  taken(stream: string, results: readonly EventResult[]): void
  answered(status: number, ms: number): void
}

const bucketsMs = [1, 3, 10, 30, 100, 300, 1_000, 3_000, 10_000]

export function createIntakeMetrics(registry: Registry, waiting: () => Load): IntakeMetrics {
  const registers = [registry]
  const accepted = new Counter({
    name: 'millrace_intake_accepted_total',
    help: 'Events taken over HTTP that Kafka has acknowledged.',
    labelNames: ['stream'],
    registers,
  })
  const rejected = new Counter({
    name: 'millrace_intake_rejected_total',
    help: 'Events rejected over HTTP, by first reason.',
    labelNames: ['stream', 'code'],
    registers,
  })
  const durations = new Histogram({
    name: 'millrace_intake_request_duration_ms',
    help: 'How long requests with events took until they were answered, in milliseconds.',
    labelNames: ['status'],
    buckets: bucketsMs,
    registers,
  })
  for (const of of ['events', 'bytes'] as const) {
    new Gauge({
      name: `millrace_intake_pending_${of}`,
      help: `The ${of} of requests that are being read or wait for Kafka.`,
      registers,
      collect() {
        this.set(waiting()[of])
      },
    })
  }
  return {
    taken(stream, results) {
      let good = 0
      for (const result of results) {
        if (result.status === 'accepted') good++
        else rejected.inc({ stream, code: result.problems[0]?.code ?? 'none' })
      }
      if (good > 0) accepted.inc({ stream }, good)
    },
    answered: (status, ms) => durations.observe({ status }, ms),
  }
}
