/** Folders, environment and output of a local server: made by `local-servers.ts`, read by the Kafka and Redis files. */

export interface LocalSetup {
  /** Absolute: settings, logs and state of this run's servers. */
  readonly folder: string
  /** Absolute: what was fetched, shared by all runs. */
  readonly cacheFolder: string
  /** For a test run only: a quick start matters more than speed, and the state need not survive a crash. */
  readonly ephemeral: boolean
  readonly environment: NodeJS.ProcessEnv
  readonly printLine: (line: string) => void
}
