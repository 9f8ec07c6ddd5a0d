/** `millrace doctor`: its arguments, options and examples. Called by `program.ts`. */
import { type Declare, jsonFileOption } from '../declare.ts'
import { urlOption } from '../option-values.ts'

export function declareDoctorCommand({ command, actAnyway, fetch }: Declare): void {
  command('doctor', 'Check versions, servers, topics, stored state and lag; say how to fix each problem.', [
    'pipelines/card-fraud.ts',
    'pipelines/card-fraud.ts --url http://127.0.0.1:8080 --json checks.json',
  ])
    .option('--url <url>', 'HTTP address of a process that should be running', urlOption)
    .addOption(jsonFileOption())
    .action((definition, options) =>
      actAnyway(async (context) => {
        const { doctorCommand } = await import('./doctor.ts')
        return doctorCommand(definition, options, { ...context, fetch })
      }),
    )
}
