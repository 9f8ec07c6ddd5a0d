/** Commands beside `start` or `run --local` find the servers that it has started, say so, and prefer those that the environment names. */
import { spawnSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { systemClock } from '../../runtime/clock.ts'
import { createMemoryBroker } from '../../runtime/memory/broker.ts'
import { findRunningServers, recordRunningServers } from '../../runtime/servers/running-servers.ts'
import { call, scratchFolder } from './call.ts'

const started = { kafkaBrokers: '127.0.0.1:19092', redisUrl: 'redis://127.0.0.1:16379' }

async function besideServers(env: Record<string, string> = {}) {
  const folder = await scratchFolder()
  await mkdir(join(folder, 'servers'))
  const forget = await recordRunningServers(folder, started)
  const asked: string[][] = []
  const command = async (name: string) =>
    call([name, 'test/cli/fixtures/clicks.ts'], {
      env: { MILLRACE_FOLDER: folder, ...env },
      openBroker: (config) => {
        asked.push([...config.kafkaBrokers])
        return createMemoryBroker({ clock: systemClock })
      },
    })
  return { folder, forget, asked, command, list: () => command('topics') }
}

test('a command uses them and says so', async () => {
  const { folder, asked, list } = await besideServers()
  const { err } = await list()
  expect(asked).toEqual([['127.0.0.1:19092']])
  expect(err[0]).toBe(
    `Kafka at 127.0.0.1:19092 and Redis at redis://127.0.0.1:16379: of the process that has started them in ${folder}.`,
  )
})

test('so does the doctor, which opens a broker although settings may be wrong', async () => {
  const { asked, command } = await besideServers()
  const { err } = await command('doctor')
  expect(asked).toEqual([['127.0.0.1:19092']])
  expect(err[0]).toMatch(/^Kafka at 127\.0\.0\.1:19092 and Redis at redis:\/\/127\.0\.0\.1:16379: of the process /)
})

test('addresses of the environment come first', async () => {
  const { asked, list } = await besideServers({ KAFKA_BROKERS: 'kafka:9092', REDIS_URL: 'redis://cache:6379' })
  const { err } = await list()
  expect(asked).toEqual([['kafka:9092']])
  expect(err).toEqual([])
})

test('they are gone with the process that has started them, however it ended', async () => {
  const { folder, forget, asked, list } = await besideServers()
  const file = join(folder, 'servers', 'running.json')
  const { pid } = spawnSync(process.execPath, ['-e', ''])
  await writeFile(file, (await readFile(file, 'utf8')).replace(String(process.pid), String(pid)))
  expect(findRunningServers(folder)).toBeNull()
  await list()
  expect(asked).toEqual([[]])
  forget()
  expect(findRunningServers(folder)).toBeNull()
})

test.each(['', 'null', '{}', '{"process":0}'])(
  'a file that does not tell, %j, is named with what to do',
  async (text) => {
    const { folder } = await besideServers()
    const file = join(folder, 'servers', 'running.json')
    await writeFile(file, text)
    expect(() => findRunningServers(folder)).toThrow(
      expect.objectContaining({
        code: 'server_failed',
        message: `${file} should hold the addresses of servers that a process has started, and does not. Remove it.`,
      }),
    )
  },
)
