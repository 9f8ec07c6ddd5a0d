/** The catalogue of failures and of wrong usage: what each code means and what the operator should do. Thrown as `PipelineError`. */

/** `retry`: whether the same call may succeed later without any change. */
interface CatalogueEntry {
  readonly retry: boolean
  readonly meaning: string
  readonly remedy: string
}

export const errorCatalogue = {
  definition_invalid: {
    retry: false,
    meaning: 'The pipeline definition is invalid; all problems are listed.',
    remedy: 'Fix each listed path in the definition file.',
  },
  config_invalid: {
    retry: false,
    meaning: 'One or more settings in the environment are invalid; all are listed.',
    remedy: 'Fix each listed variable.',
  },
  usage: {
    retry: false,
    meaning: 'The command was called with invalid arguments.',
    remedy: 'Call the command as the message says; --help shows examples.',
  },
  kafka_unreachable: {
    retry: true,
    meaning: 'No broker answered.',
    remedy: 'Check KAFKA_BROKERS and that the brokers are running.',
  },
  kafka_refused: {
    retry: false,
    meaning:
      'The brokers rejected the login of this process, it does not trust their certificate, or its user lacks a right.',
    remedy:
      'See the reason in the message: check the KAFKA_TLS… and KAFKA_SASL… settings, or grant the user the named right.',
  },
  kafka_request_failed: {
    retry: true,
    meaning: 'A broker answered with an error.',
    remedy: 'See the error named in the message; retriable errors are retried.',
  },
  kafka_version_unsupported: {
    retry: false,
    meaning: 'The installed version of kafkajs is not the one that Millrace was tested with.',
    remedy: 'Install the dependencies with npm ci.',
  },
  topic_missing: {
    retry: false,
    meaning: 'A topic of the pipeline does not exist.',
    remedy: 'Create it, or let Millrace create it with --create-topics.',
  },
  topic_mismatch: {
    retry: false,
    meaning: 'A topic has a partition count or setting that the pipeline cannot use.',
    remedy:
      'Type millrace topics <pipeline> --alter, which makes these changes (partitions: of empty topics only; with --local where run has it), or start with another namespace.',
  },
  fenced: {
    retry: true,
    meaning: 'Another process took over these tasks; the broker or the store rejected the former owner.',
    remedy: 'Nothing: the process drops its local state and rejoins the consumer group.',
  },
  superseded: {
    retry: false,
    meaning: 'Another process uses the same worker name; it has taken over the tasks, and this process has ended.',
    remedy: 'Give every process its own MILLRACE_WORKER. Nothing is lost: the other process continues.',
  },
  rebalance: {
    retry: true,
    meaning: 'The consumer group is rebalancing; work under the former assignment is dropped and repeated.',
    remedy: 'Nothing: the process rejoins the consumer group.',
  },
  transaction_aborted: {
    retry: true,
    meaning: 'A Kafka transaction was aborted; none of its outputs or offsets became visible.',
    remedy: 'Nothing: the batch is repeated.',
  },
  redis_unreachable: {
    retry: true,
    meaning: 'Redis did not answer.',
    remedy: 'Check REDIS_URL and that Redis is running.',
  },
  redis_refused: {
    retry: false,
    meaning:
      'Redis rejected the login of this process, it does not trust the certificate of Redis, or its user lacks a right.',
    remedy:
      'See the reason in the message: check REDIS_URL, REDIS_USERNAME, REDIS_PASSWORD and the REDIS_TLS… settings, or grant the user the named rights.',
  },
  redis_request_failed: {
    retry: true,
    meaning: 'Redis answered a command with an error.',
    remedy: 'See the error named in the message; the usual causes are out of memory and a read-only replica.',
  },
  redis_eviction: {
    retry: false,
    meaning: 'Redis is configured to evict keys, so features could be lost unnoticed.',
    remedy: 'Set maxmemory-policy to noeviction.',
  },
  state_foreign: {
    retry: false,
    meaning: 'The stored state belongs to another definition, partition count or Kafka cluster.',
    remedy:
      'Start with the definition that it belongs to, with another namespace, or with --rebuild to rebuild the state from Kafka.',
  },
  state_ahead: {
    retry: false,
    meaning: 'The stored state is ahead of the offsets that Kafka has committed or still has.',
    remedy: 'Kafka lost data or its offsets expired: start with --rebuild to rebuild the state from Kafka.',
  },
  state_lost: {
    retry: true,
    meaning: 'The stored state was changed by someone other than its owner (emptied, or restored from a backup).',
    remedy: 'Nothing: the process drops its local state and restores it from Kafka.',
  },
  log_truncated: {
    retry: false,
    meaning: 'The offset to resume at lies before the start of the topic: retention has removed it.',
    remedy: 'Start with --rebuild to rebuild the state from what Kafka still has.',
  },
  registry_unreachable: {
    retry: true,
    meaning: 'The schema registry did not answer, or answered with an error; events whose schema is needed wait.',
    remedy: 'Check SCHEMA_REGISTRY_URL, its user and password, and that the registry is running.',
  },
  registry_rejected: {
    retry: false,
    meaning:
      'The schema registry does not accept the schema that predictions are published with; nothing was published.',
    remedy:
      "Allow the change in the registry (the subject's compatibility), or publish under another name: change the definition's name or the namespace.",
  },
  registry_overrun: {
    retry: false,
    meaning: 'Events use more schemas, of the registry or of a topic of schemas, than a process keeps.',
    remedy:
      'Find the producer that registers a schema for every event; restart the process, or create the topic of schemas again.',
  },
  server_missing: {
    retry: false,
    meaning: 'A server that Millrace starts for development is not available on this machine.',
    remedy: 'Install what the message names, or set KAFKA_BROKERS and REDIS_URL.',
  },
  server_failed: {
    retry: false,
    meaning: 'A server that Millrace starts for development failed to start.',
    remedy: 'See its log file, named in the message.',
  },
  port_in_use: {
    retry: false,
    meaning: 'The port is in use by another process.',
    remedy: 'Stop that process or choose another port.',
  },
  input_unreadable: {
    retry: false,
    meaning: 'A file or source could not be read in the expected format.',
    remedy: 'See the location named in the message.',
  },
  output_unwritable: {
    retry: false,
    meaning: 'An output file of the command could not be written; an existing file of that name is unchanged.',
    remedy: 'Free disk space or name another file.',
  },
  source_changed: {
    retry: false,
    meaning: 'The source has changed since its position was stored.',
    remedy:
      'Omit --resume to send all of it: events that were sent before have the same ids and are dropped as duplicates.',
  },
  source_taken: {
    retry: false,
    meaning: 'Another process has started to send the same source; only the newer one continues.',
    remedy: 'Let that process finish; if it was stopped, start again with --resume.',
  },
  record_unreadable: {
    retry: false,
    meaning: 'A record of an internal topic could not be decoded, or lacks a field that this definition needs.',
    remedy: 'The topic was written by another definition or by another program: start with another namespace.',
  },
  model_unknown: {
    retry: false,
    meaning: 'The registry has no model version of that name, or the version cannot be used with this definition.',
    remedy: 'Name a version that millrace models list shows.',
  },
  model_conflict: {
    retry: true,
    meaning: 'The model registry was changed concurrently, or does not allow this change; nothing was changed.',
    remedy: 'See the current state with millrace models list, and decide again.',
  },
  model_too_large: {
    retry: false,
    meaning: 'The model version is too large for a record of the registry.',
    remedy: 'Train a smaller model: fewer hidden units, or fewer features.',
  },
  training_store_locked: {
    retry: false,
    meaning: 'The file of the training store is open in another process; DuckDB allows one process at a time.',
    remedy: 'Stop the process that the message names, name another file, or read a snapshot.',
  },
  training_store_unreadable: {
    retry: false,
    meaning: 'The file of the training store is damaged or is not a DuckDB file.',
    remedy: 'Remove the file or start with --rebuild: it is rebuilt from Kafka.',
  },
  training_store_failed: {
    retry: false,
    meaning: 'The training store could not be read or written; the transaction in progress was rolled back.',
    remedy: 'See the reason in the message; the usual causes are a full disk and too little memory.',
  },
  model_untrainable: {
    retry: false,
    meaning: 'There is not enough labelled data to train a model.',
    remedy: 'Wait until labels have matured, or see the counts in the message.',
  },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof errorCatalogue

/** A failure of the environment or of usage. Switch on `code`, never on the text. */
export class PipelineError extends Error {
  readonly code: ErrorCode
  readonly retry: boolean
  readonly details: Readonly<Record<string, unknown>>

  constructor(code: ErrorCode, message: string, options: { cause?: unknown; details?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = 'PipelineError'
    this.code = code
    this.retry = errorCatalogue[code].retry
    this.details = options.details ?? {}
  }
}
