/** Where a local server lives and what it may use: made by `local-servers.ts`, read by the Kafka and Redis files. */

export interface LocalPlace {
  /** Absolute: settings, logs and state of this run's servers. */
  readonly folder: string
  /** Absolute: what was fetched, shared by all runs. */
  readonly cacheFolder: string
  /** For a test run only: a quick start counts for more than speed, and the state outlives no crash. */
  readonly ephemeral: boolean
  readonly environment: NodeJS.ProcessEnv
  readonly say: (line: string) => void
}
