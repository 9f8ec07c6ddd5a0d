/** The process around `millrace`: hands the command its arguments, environment and streams, and ends with its exit code. */
import { millrace } from './program.ts'

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // The reader of the pipe has closed it, as `head` does.
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

// Started by another command: stops when that command ends.
process.once('disconnect', () => process.kill(process.pid, 'SIGTERM'))
process.channel?.unref()

process.exitCode = await millrace(process.argv.slice(2), {
  env: process.env,
  terminal: {
    out: (line) => void process.stdout.write(`${line}\n`),
    err: (line) => void process.stderr.write(`${line}\n`),
  },
  process,
  stdin: () => process.stdin,
  random: Math.random,
})
