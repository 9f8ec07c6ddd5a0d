/** What `start` stands on: servers where there are any, else this process alone, and then it says so. Called by `start`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { embeddedBytesMax, openEmbeddedGround } from './embedded-environment.ts'
import type { Ground, Parts, Subject } from './environment.ts'
import { openServerGround } from './server-environment.ts'

export interface GroundOptions {
  readonly embedded?: boolean
  readonly resume?: boolean
}

/** Throws `usage` for options that cannot go together. */
export function checkGroundOptions({ embedded, resume }: GroundOptions): void {
  if (!embedded || !resume) return
  throw new PipelineError(
    'usage',
    '--resume goes on with what the servers of the last start have kept; --embedded has no servers and keeps nothing. ' +
      'Leave one of them out.',
  )
}

export async function openChosenGround(options: GroundOptions, subject: Subject, parts: Parts): Promise<Ground> {
  const { terminal, config } = parts.context
  const given = [
    ...(config.kafkaBrokers.length > 0 ? ['KAFKA_BROKERS'] : []),
    ...(config.redisUrl === null ? [] : ['REDIS_URL']),
  ]
  if (options.embedded) {
    const unused = given.length === 0 ? '' : ` ${given.join(' and ')} ${given.length === 1 ? 'is' : 'are'} not used.`
    terminal.err(`Embedded: broker and store are the memory of this process, and nothing of it is kept.${unused}`)
    return openEmbeddedGround(subject, parts)
  }
  try {
    return await openServerGround(subject, parts)
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'server_missing') throw error
    if (given.length > 0) throw halfGiven(given[0]!, error)
    // What it is to go on with lies in servers, and whoever says where to take them from means real ones.
    if (options.resume || config.servers !== 'auto') throw error
    for (const line of fallbackLines(error)) terminal.err(line)
    return openEmbeddedGround(subject, parts)
  }
}

/** Whoever names one server means real ones: no reason to go on without any. */
function halfGiven(given: string, cause: PipelineError): PipelineError {
  const [missing, server] = given === 'REDIS_URL' ? ['KAFKA_BROKERS', 'Kafka'] : ['REDIS_URL', 'Redis']
  return new PipelineError(
    'server_missing',
    `${given} is set and ${missing} is not, and no ${server} could be started here: ${cause.message}\n` +
      `Set ${missing} as well; or unset ${given}, or give --embedded, to run without any server.`,
    { cause },
  )
}

function fallbackLines(cause: PipelineError): string[] {
  const megabytes = embeddedBytesMax / 1_024 / 1_024
  return [
    'NO SERVERS: Kafka and Redis cannot be had here, so their places are taken by the memory of this process (--embedded).',
    ...cause.message.split('\n').map((line, at) => (at === 0 ? `  Why: ${line}` : `       ${line}`)),
    '  Nothing is durable: events, features, predictions and the model are gone when this command ends, and --resume',
    `  cannot go on with them. It holds ${megabytes} MB of records; the oldest are dropped. Its figures are not those of Kafka and Redis.`,
    '  For the real thing: install Docker, or Java 17 with Maven; or set KAFKA_BROKERS and REDIS_URL.',
  ]
}
