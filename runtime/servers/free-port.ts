/** Finds a port of 127.0.0.1 that is free; called before a local server is started. */

import { randomInt } from 'node:crypto'
import { createServer } from 'node:net'
import { PipelineError } from '../../schemas/kernel/errors.ts'

/**
 * Below the ephemeral ports of operating systems, so that no outgoing connection takes it before the server is up.
 */
const portMin = 20_000
const portEnd = 30_000
const triesMax = 50

/**
 * `wanted` (a remembered port) where it is free and not in `taken`, else a random one. Error: `port_in_use` when 50
 * random ports were taken.
 */
export async function freePort(wanted: number | undefined, taken: readonly number[]): Promise<number> {
  if (wanted !== undefined && !taken.includes(wanted) && (await isFree(wanted))) return wanted
  for (let tries = 0; tries < triesMax; tries += 1) {
    const port = randomInt(portMin, portEnd)
    if (!taken.includes(port) && (await isFree(port))) return port
  }
  throw new PipelineError(
    'port_in_use',
    `No free port on 127.0.0.1: ${triesMax} random ports from ${portMin} to ${portEnd - 1} were all taken. ` +
      'Stop other servers, or set KAFKA_BROKERS and REDIS_URL.',
  )
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', (error: NodeJS.ErrnoException) => {
      if (error.code === 'EADDRINUSE' || error.code === 'EACCES') resolve(false)
      else reject(error)
    })
    probe.listen({ port, host: '127.0.0.1', exclusive: true }, () => probe.close(() => resolve(true)))
  })
}
