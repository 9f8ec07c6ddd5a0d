/**
 * Where an isolated pipeline runs: a broker, a way to run the production process and a way to train. Implemented twice: on servers with a
 * process for each part (`servers.ts`), and inside this process (`embedded.ts`). Opened by `isolated-pipeline.ts`.
 */
import type { Broker } from '../../runtime/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import type { Shutdown } from '../shutdown.ts'

/** What the parts of `start` and `verify` share. */
export interface Parts {
  readonly context: CommandContext
  readonly shutdown: Shutdown
  /** Aborted by a signal, or by a background failure. */
  readonly signal: AbortSignal
  readonly giveUp: (error: unknown) => void
}

/** The pipeline to run. */
export interface Subject {
  /** File of the definition. */
  readonly definition: string
  readonly namespace: string
  readonly plan: Plan
}

export interface RunEnvironment {
  readonly broker: Broker
  /** Its data outlive this process. */
  readonly isDurable: boolean
  /** Events that may be sent and not yet predicted at the same time. */
  readonly inFlightMax: number
  /**
   * Starts the production processes, one in an embedded environment; a failure of one later on is handed to `giveUp`. Resolves with their
   * HTTP addresses.
   */
  run(processes: number): Promise<readonly [string, ...string[]]>
  /** Trains on what is logged so far and makes the model the champion. */
  train(): Promise<void>
  /** Starts the trainer; a failure of it later on is handed to `giveUp`. Resolves with its HTTP address, null where it has none. */
  learn(): Promise<string | null>
}

/** Adds everything it opens to `shutdown`. */
export type OpenEnvironment = (subject: Subject, parts: Parts) => Promise<RunEnvironment>
