/** `millrace run`: its arguments, options and examples. Called by `program.ts`. */
import type { Declare } from '../declare.ts'

export function declareRunCommand({ command, act }: Declare): void {
  command('run', 'Run a pipeline in production: features, scores, HTTP.', [
    'pipelines/card-fraud.ts --create-topics',
    'pipelines/card-fraud.ts --rebuild',
    'pipelines/card-fraud.ts --local --create-topics',
  ])
    .option('--create-topics', 'create the topics that are missing')
    .option('--rebuild', 'discard the stored features and rebuild them from Kafka')
    .option('--local', 'start servers on this machine where KAFKA_BROKERS or REDIS_URL is not set')
    .action((definition, options) =>
      act(async (context) => (await import('./run.ts')).runCommand(definition, options, context), {
        startsServers: options.local === true,
      }),
    )
}
