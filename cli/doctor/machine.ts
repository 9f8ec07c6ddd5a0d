/** The machine and what is installed on it: figures in, checks out; called by `doctor`. */
import { existsSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { freemem, totalmem } from 'node:os'
import { dirname, resolve } from 'node:path'
import { installedKafkajs } from '../../runtime/kafka/kafkajs-connection.ts'
import { type Check, type Examination, fail, ok, warn } from './check.ts'

const nodeNeeded = [20, 19] as const
const diskWarnBytes = 2 ** 30
const diskFailBytes = 100 * 2 ** 20
const memoryWarnBytes = 512 * 2 ** 20

export function machineExaminations(folder: string): Examination[] {
  return [
    { name: 'node', examine: async () => [nodeCheck(process.versions.node, installedKafkajs())] },
    {
      name: 'disk',
      async examine() {
        const existing = existingFolder(folder)
        const { bavail, bsize } = await statfs(existing)
        return [diskCheck(bavail * bsize, existing)]
      },
    },
    { name: 'memory', examine: async () => [memoryCheck(freemem(), totalmem())] },
  ]
}

export function nodeCheck(version: string, kafkajs: string): Check {
  const [major = 0, minor = 0] = version.split('.').map(Number)
  const [majorNeeded, minorNeeded] = nodeNeeded
  const isNew = major > majorNeeded || (major === majorNeeded && minor >= minorNeeded)
  const needed = nodeNeeded.join('.')
  if (!isNew) return fail('node', `Node ${version}, expected ${needed} or newer.`, `Install Node ${needed} or newer.`)
  return ok('node', `Node ${version}, kafkajs ${kafkajs}.`)
}

export function diskCheck(freeBytes: number, folder: string): Check {
  const message = `${shownBytes(freeBytes)} free at ${folder}.`
  const remedy = 'Free space, or set MILLRACE_FOLDER to another disk; check the disks of Kafka and Redis as well.'
  if (freeBytes < diskFailBytes) return fail('disk', message, remedy)
  return freeBytes < diskWarnBytes ? warn('disk', message, remedy) : ok('disk', message)
}

export function memoryCheck(freeBytes: number, totalBytes: number): Check {
  const message = `${shownBytes(freeBytes)} of ${shownBytes(totalBytes)} free on this machine.`
  return freeBytes < memoryWarnBytes
    ? warn('memory', message, 'A process takes up to 0.4 GB: stop something else, or run fewer processes here.')
    : ok('memory', message)
}

export function shownBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 1_024 && unit < units.length - 1) {
    value /= 1_024
    unit++
  }
  return `${unit === 0 || value >= 100 ? Math.round(value) : value.toFixed(1)} ${units[unit]}`
}

/** The folder itself, or the first one above it that is there already. */
function existingFolder(folder: string): string {
  let existing = resolve(folder)
  while (!existsSync(existing)) existing = dirname(existing)
  return existing
}
