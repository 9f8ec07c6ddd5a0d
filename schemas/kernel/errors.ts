/** The catalogue of world failures and wrong usage: what each code means and what the operator should do. Thrown as `PipelineError`. */

/** `retry`: whether the same call may succeed later without anybody doing anything. */
interface CatalogueEntry {
  readonly retry: boolean
  readonly meaning: string
  readonly remedy: string
}

export const errorCatalogue = {
  definition_invalid: {
    retry: false,
    meaning: 'The pipeline definition has mistakes; all are listed.',
    remedy: 'Mend each listed path in the definition file.',
  },
  config_invalid: {
    retry: false,
    meaning: 'One or more settings from the environment are wrong; all are listed.',
    remedy: 'Mend each listed variable.',
  },
  usage: {
    retry: false,
    meaning: 'The command was called with arguments that it does not take.',
    remedy: 'Call the command as the message says; --help shows examples.',
  },
  kafka_unreachable: {
    retry: true,
    meaning: 'No broker answered.',
    remedy: 'Check KAFKA_BROKERS and that the brokers run.',
  },
  kafka_refused: {
    retry: false,
    meaning: 'The brokers do not let this process in, or it does not trust them, or it lacks a right.',
    remedy:
      'See the reason in the message: check KAFKA_TLS… and KAFKA_SASL…, or give the user the right that is named.',
  },
  kafka_request_failed: {
    retry: true,
    meaning: 'A broker answered with an error.',
    remedy: 'See the error named in the message; retriable ones pass by themselves.',
  },
  kafka_version_unsupported: {
    retry: false,
    meaning: 'The installed kafkajs is not the version whose internals Millrace was proven on.',
    remedy: 'Install the dependencies with npm ci.',
  },
  topic_missing: {
    retry: false,
    meaning: 'A topic of the pipeline does not exist.',
    remedy: 'Create it, or let Millrace create it with --create-topics.',
  },
  topic_mismatch: {
    retry: false,
    meaning: 'A topic exists with another partition count or setting than the pipeline needs.',
    remedy: 'Change the topic as the message says, or start with another namespace.',
  },
  fenced: {
    retry: true,
    meaning: 'Another process took over these tasks; the broker or the store refused the former owner.',
    remedy: 'Nothing: the process drops its local state and joins again.',
  },
  superseded: {
    retry: false,
    meaning: 'Another process works under the same worker name; it has the tasks, and this one ended.',
    remedy: 'Give every process a MILLRACE_WORKER of its own. Nothing is lost: the other process goes on.',
  },
  rebalance: {
    retry: true,
    meaning: 'The consumer group is assigning its tasks anew; work under the former assignment is dropped and redone.',
    remedy: 'Nothing: the process joins again.',
  },
  transaction_aborted: {
    retry: true,
    meaning: 'A Kafka transaction was aborted; none of its outputs or offsets became visible.',
    remedy: 'Nothing: the batch is done again.',
  },
  redis_unreachable: {
    retry: true,
    meaning: 'Redis did not answer.',
    remedy: 'Check REDIS_URL and that Redis runs.',
  },
  redis_refused: {
    retry: false,
    meaning: 'Redis does not let this process in, or it does not trust Redis, or its user lacks a right.',
    remedy:
      'See the reason in the message: check REDIS_URL, REDIS_USERNAME, REDIS_PASSWORD and REDIS_TLS…, or give the user the rights that are named.',
  },
  redis_request_failed: {
    retry: true,
    meaning: 'Redis answered a command with an error.',
    remedy: 'See the error named in the message: out of memory and read-only replicas are the usual ones.',
  },
  redis_eviction: {
    retry: false,
    meaning: 'Redis may evict keys by itself, so features could vanish unseen.',
    remedy: 'Set maxmemory-policy to noeviction.',
  },
  state_foreign: {
    retry: false,
    meaning: 'The stored state belongs to another definition, partition count or Kafka cluster.',
    remedy: 'Start with the definition it belongs to, another namespace, or --rebuild to fold it anew from Kafka.',
  },
  state_ahead: {
    retry: false,
    meaning: 'The stored state stands for offsets that Kafka has not committed or no longer has.',
    remedy: 'Kafka lost data or its offsets expired: start with --rebuild to fold the state anew from Kafka.',
  },
  state_lost: {
    retry: true,
    meaning: 'The stored state changed under its owner (emptied or restored from an old copy).',
    remedy: 'Nothing: the process drops its local state and folds it anew from Kafka.',
  },
  log_truncated: {
    retry: false,
    meaning: 'The offset to go on from lies before the start of the topic: retention has removed it.',
    remedy: 'Start with --rebuild to fold the state anew from what Kafka still has.',
  },
  registry_unreachable: {
    retry: true,
    meaning: 'The schema registry did not answer, or answered with an error; events that need it wait.',
    remedy: 'Check SCHEMA_REGISTRY_URL, its user and password, and that the registry runs.',
  },
  registry_overrun: {
    retry: false,
    meaning: 'Events were written with more schemas of the registry than a process keeps.',
    remedy: 'Start the process again; find the producer that registers a schema for every event.',
  },
  server_missing: {
    retry: false,
    meaning: 'A server that Millrace starts for development could not be had on this machine.',
    remedy: 'Install what the message names, or set KAFKA_BROKERS and REDIS_URL.',
  },
  server_failed: {
    retry: false,
    meaning: 'A server that Millrace starts for development did not come up.',
    remedy: 'See its log file, named in the message.',
  },
  port_in_use: {
    retry: false,
    meaning: 'The port is taken by another process.',
    remedy: 'Stop that process or choose another port.',
  },
  input_unreadable: {
    retry: false,
    meaning: 'A file or source could not be read as what it should be.',
    remedy: 'See the place named in the message.',
  },
  output_unwritable: {
    retry: false,
    meaning:
      'A file that the command was to write could not be written; one of that name that was there before is as it was.',
    remedy: 'Make room or name another file.',
  },
  source_changed: {
    retry: false,
    meaning: 'A source is not the one any more that its position was kept for.',
    remedy: 'Leave --resume out to send all of it: what was sent before has the same ids and is dropped as duplicates.',
  },
  source_taken: {
    retry: false,
    meaning: 'Another process has begun to send the same source; only the newer of them goes on.',
    remedy: 'Let that one finish; where it was stopped, start again with --resume.',
  },
  record_unreadable: {
    retry: false,
    meaning: 'A record of an internal topic could not be decoded, or lacks what this definition computes with.',
    remedy: 'The topic was written by another definition or by hand: start with another namespace.',
  },
  model_unknown: {
    retry: false,
    meaning: 'The registry has no model version of that name, or it cannot be used for this definition.',
    remedy: 'Name one that millrace models list shows.',
  },
  model_conflict: {
    retry: true,
    meaning:
      'Another change of the registry of models came first, or the registry does not allow this one; nothing was changed.',
    remedy: 'See what is there with millrace models list, and decide anew.',
  },
  model_too_large: {
    retry: false,
    meaning: 'A model version does not fit into a record of the registry.',
    remedy: 'Train a smaller model: fewer hidden units, or fewer features.',
  },
  training_store_locked: {
    retry: false,
    meaning: 'The file of the training store is open in another process; DuckDB lets one process in.',
    remedy: 'Stop the process that the message names, name another file, or read a snapshot.',
  },
  training_store_unreadable: {
    retry: false,
    meaning: 'The file of the training store is damaged or no DuckDB file.',
    remedy: 'Remove the file or start with --rebuild: it is built anew from Kafka.',
  },
  training_store_failed: {
    retry: false,
    meaning: 'The training store could not be read or written; the transaction that was under way left nothing behind.',
    remedy: 'See the reason in the message: a full disk and too little memory are the usual ones.',
  },
  model_untrainable: {
    retry: false,
    meaning: 'There is not enough labelled data to train a model.',
    remedy: 'Wait until labels have ripened, or see the counts in the message.',
  },
} as const satisfies Record<string, CatalogueEntry>

export type ErrorCode = keyof typeof errorCatalogue

/** A failure of the world or of usage. Switch on `code`, never on the text. */
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
