/**
 * What a pipeline of its own stands on: a broker, a way to run the production process and a way to train. There are two: servers with a
 * process for each part, and nothing but this process. Opened by `own-pipeline.ts`.
 */
import type { Broker } from '../../runtime/broker.ts'
import type { Plan } from '../../schemas/plan/plan.ts'
import type { CommandContext } from '../context.ts'
import type { Shutdown } from '../shutdown.ts'

/** What the parts of a command that shows or proves a pipeline share. */
export interface Parts {
  readonly context: CommandContext
  readonly shutdown: Shutdown
  /** Aborted by a signal, or by what failed beside the main line. */
  readonly signal: AbortSignal
  readonly giveUp: (error: unknown) => void
}

/** The pipeline that is to stand on it. */
export interface Subject {
  /** File of the definition. */
  readonly definition: string
  readonly namespace: string
  readonly plan: Plan
}

export interface RunOptions {
  /** One where the ground is this process. */
  readonly processes: number
  /** Nothing goes before what is earlier, however long that takes. */
  readonly isReplay: boolean
}

export interface Ground {
  readonly broker: Broker
  /** What it holds outlives this process. */
  readonly isKept: boolean
  /** Events that may be sent and without an answer at the same time. */
  readonly unansweredMax: number
  /** Starts the production processes; a failure of one later on is handed to `giveUp`. Resolves with their HTTP addresses. */
  run(options: RunOptions): Promise<readonly [string, ...string[]]>
  /** Trains on what is logged so far and makes the model the champion. */
  train(): Promise<void>
  /** Starts the trainer; a failure of it later on is handed to `giveUp`. Resolves with its HTTP address, null where it has none. */
  learn(): Promise<string | null>
}

/** Everything it opens is in `closing` by then. */
export type OpenGround = (subject: Subject, parts: Parts) => Promise<Ground>
