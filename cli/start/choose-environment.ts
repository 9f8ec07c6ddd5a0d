/** The environment of `start`: servers where they are available, else embedded, with a note that says so. Called by `start`. */
import { PipelineError } from '../../schemas/kernel/errors.ts'
import { embeddedBytesMax, openEmbeddedEnvironment } from '../environment/embedded.ts'
import type { Parts, RunEnvironment, Subject } from '../environment/environment.ts'
import { openServerEnvironment } from '../environment/servers.ts'

export interface EnvironmentOptions {
  readonly embedded?: boolean
  readonly resume?: boolean
}

/** Throws `usage` for options that exclude each other. */
export function checkEnvironmentOptions({ embedded, resume }: EnvironmentOptions): void {
  if (!embedded || !resume) return
  throw new PipelineError(
    'usage',
    '--resume continues with the data on the servers of the last start; --embedded has no servers and stores nothing. ' +
      'Leave one of them out.',
  )
}

export async function chooseEnvironment(
  options: EnvironmentOptions,
  subject: Subject,
  parts: Parts,
): Promise<RunEnvironment> {
  const { terminal, config } = parts.context
  const given = [
    ...(config.kafkaBrokers.length > 0 ? ['KAFKA_BROKERS'] : []),
    ...(config.redisUrl === null ? [] : ['REDIS_URL']),
  ]
  if (options.embedded) {
    const unused = given.length === 0 ? '' : ` ${given.join(' and ')} ${given.length === 1 ? 'is' : 'are'} not used.`
    terminal.err(
      `Embedded: broker and store are in the memory of this process; nothing is stored permanently.${unused}`,
    )
    return openEmbeddedEnvironment(subject, parts)
  }
  try {
    return await openServerEnvironment(subject, parts)
  } catch (error) {
    if (!(error instanceof PipelineError) || error.code !== 'server_missing') throw error
    if (given.length > 0) throw halfGiven(given[0]!, error)
    // --resume needs the data on servers, and MILLRACE_SERVERS asks for servers explicitly.
    if (options.resume || config.servers !== 'auto') throw error
    for (const line of fallbackLines(error)) terminal.err(line)
    return openEmbeddedEnvironment(subject, parts)
  }
}

/** One server was configured, so running without any would be a surprise. */
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
    'NO SERVERS: Kafka and Redis are not available here, so the memory of this process is used instead (--embedded).',
    ...cause.message.split('\n').map((line, at) => (at === 0 ? `  Why: ${line}` : `       ${line}`)),
    '  Nothing is durable: events, features, predictions and the model are lost when this command ends, and --resume',
    `  cannot continue with them. It keeps ${megabytes} MB of records and drops the oldest. Its figures are not those of Kafka and Redis.`,
    '  To use servers: install Docker, or Java 17 with Maven; or set KAFKA_BROKERS and REDIS_URL.',
  ]
}
