/** Chooses the ports of local servers, those of the former start where they are free; called by `local-servers.ts`. */

import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from './free-port.ts'

export interface LocalPorts {
  readonly broker: number
  readonly controller: number
  readonly redis: number
}

/** Remembers its choice in `ports.json` of the folder. Error: `port_in_use` where no port is free. */
export async function choosePorts(folder: string, printLine: (line: string) => void): Promise<LocalPorts> {
  const path = join(folder, 'ports.json')
  const former = await readPorts(path, printLine)
  const choose = async (whose: string, wanted: number | undefined, taken: readonly number[]): Promise<number> => {
    const port = await freePort(wanted, taken)
    if (wanted !== undefined && port !== wanted)
      printLine(`Port ${wanted}, ${whose} of the former start, is taken now: ${port} instead`)
    return port
  }
  const broker = await choose("Kafka's", former?.broker, [])
  const controller = await choose("Kafka's controller's", former?.controller, [broker])
  const redis = await choose("Redis's", former?.redis, [broker, controller])
  const ports = { broker, controller, redis }
  await writeFile(path, `${JSON.stringify(ports)}\n`)
  return ports
}

async function readPorts(path: string, printLine: (line: string) => void): Promise<LocalPorts | undefined> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw error
  }
  const ports = parsePorts(text)
  if (ports === undefined) printLine(`${path} does not hold the ports of a former start: new ones are chosen`)
  return ports
}

/** Undefined for a text that is not what `choosePorts` writes. */
export function parsePorts(text: string): LocalPorts | undefined {
  const found = /^\{"broker":(\d{1,5}),"controller":(\d{1,5}),"redis":(\d{1,5})\}\s*$/.exec(text)
  const [broker = 0, controller = 0, redis = 0] = (found ?? []).slice(1).map(Number)
  const good = [broker, controller, redis].every((port) => port > 0 && port < 65_536)
  return good ? { broker, controller, redis } : undefined
}
