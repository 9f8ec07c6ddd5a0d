/** What a job of the bench is and what one run of it gives; made by the job files, run by `run-bench.ts`. */
import type { LatencyMs } from './statistics.ts'

/** Figures of one run; null where the job has no such figure. */
export interface JobRun {
  readonly job: string
  readonly eventsPerSecond: number | null
  /** Of the measured process alone. */
  readonly eventsPerCpuSecond: number | null
  readonly latencyMs: LatencyMs | null
  readonly residentMb: number | null
  /** Other figures, by name with the unit at its end. */
  readonly further: Readonly<Record<string, number>>
  /** Why the figures do not count; null where they do. A run with wrong results is no run: it throws. */
  readonly invalid: string | null
}

export interface Job {
  /** What it measures, one line for each name that its runs have. */
  readonly measures: Readonly<Record<string, string>>
  /** The job beside it in every round that its figures are divided by; null for a baseline itself. */
  readonly baseline: string | null
  /** One run, in a namespace of its own. */
  readonly run: () => Promise<readonly JobRun[]>
}

/** The groups that `--jobs` chooses from. */
export const jobGroups = [
  'baseline',
  'card-fraud-backlog',
  'w1',
  'w2',
  'card-fraud-paced',
  'w1-paced',
  'at-least-once',
  'training',
  'http-reads',
  'models',
  'restart',
] as const
export type JobGroup = (typeof jobGroups)[number]

/** Needs no servers, takes minutes, and runs when it is chosen: by itself. */
export const costsJob = 'costs'
