/** A Kafka and a Redis of one test's own, on their own ports, which it may kill and bring back with what they had on the disk. */
import { onTestFinished } from 'vitest'
import { ownFolder } from './command.ts'
import { type KillableServers, startKillableServers } from './killable-servers.ts'

/** Closed with the test. */
export async function ownServers(): Promise<KillableServers> {
  const servers = await startKillableServers(ownFolder())
  onTestFinished(() => servers.kafka.close())
  onTestFinished(() => servers.redis.close())
  return servers
}
