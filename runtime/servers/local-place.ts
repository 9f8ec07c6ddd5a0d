/** Where a local server lives and what it may use: made by `local-servers.ts`, read by the Kafka and Redis files. */

export interface LocalPlace {
  /** Absolute: settings, logs and state of this run's servers. */
  readonly folder: string
  /** Absolute: what was fetched, shared by all runs. */
  readonly cacheFolder: string
  /** Whether the state is thrown away at the end. */
  readonly ephemeral: boolean
  readonly environment: NodeJS.ProcessEnv
  readonly say: (line: string) => void
}
