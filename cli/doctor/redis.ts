/** The state of the Redis server in, checks of whether features are safe there out; called by `doctor`. */
import type { RedisServer } from '../../feature-store/redis/server.ts'
import { type Check, type Examination, fail, ok, warn } from './check.ts'
import { shownBytes } from './machine.ts'
import type { Subject } from './subject.ts'

const memoryWarnShare = 0.8
const memoryFailShare = 0.95
const pingWarnMs = 20
const clockWarnMs = 1_000

export function redisExaminations({ redis, config, clock }: Subject): Examination[] {
  return [
    {
      name: 'redis',
      async examine() {
        const { server, pingMs } = await redis.open()
        return redisChecks(server, { pingMs, nowMs: clock.nowMs(), address: new URL(config.redisUrl!).host })
      },
    },
  ]
}

export function redisChecks(
  server: RedisServer,
  seen: { readonly pingMs: number; readonly nowMs: number; readonly address: string },
): Check[] {
  return [reachable(server, seen), memory(server), policy(server), persistence(server), clocks(server, seen.nowMs)]
}

function reachable(
  { version, isPrimary }: RedisServer,
  { pingMs, address }: { pingMs: number; address: string },
): Check {
  const message = `${version} answers at ${address} in ${pingMs.toFixed(1)} ms.`
  if (!isPrimary) {
    return fail(
      'redis',
      `${version} at ${address} is a replica, which takes no writes.`,
      'Set REDIS_URL to the primary.',
    )
  }
  if (pingMs <= pingWarnMs) return ok('redis', message)
  return warn(
    'redis',
    message,
    'Every batch waits for Redis: move it closer, or check what else it is doing (SLOWLOG GET).',
  )
}

function policy({ evictionPolicy }: RedisServer): Check {
  if (evictionPolicy === 'noeviction') return ok('redis policy', 'maxmemory-policy is noeviction.')
  return fail(
    'redis policy',
    `maxmemory-policy is ${evictionPolicy}, expected noeviction: features could be evicted unnoticed.`,
    'Type: redis-cli CONFIG SET maxmemory-policy noeviction (and set it in redis.conf).',
  )
}

function memory({ usedBytes, bytesMax }: RedisServer): Check {
  if (bytesMax === null) return ok('redis memory', `${shownBytes(usedBytes)} used, no maxmemory.`)
  const share = usedBytes / bytesMax
  const message = `${shownBytes(usedBytes)} of maxmemory ${shownBytes(bytesMax)} used (${Math.floor(share * 100)} %).`
  const remedy =
    'Raise it (redis-cli CONFIG SET maxmemory …): when it is full, Redis refuses writes and the pipeline stops.'
  if (share >= memoryFailShare) return fail('redis memory', message, remedy)
  return share >= memoryWarnShare ? warn('redis memory', message, remedy) : ok('redis memory', message)
}

function persistence({ isAppendOnly, failedWrite }: RedisServer): Check {
  if (failedWrite !== null) {
    return fail(
      'redis persistence',
      `the last write of the ${failedWrite} failed: Redis refuses writes.`,
      "See Redis's log; its disk is full or not writable.",
    )
  }
  if (isAppendOnly) return ok('redis persistence', 'append-only file is on.')
  return warn(
    'redis persistence',
    'no append-only file: after a crash of Redis the features are rebuilt from Kafka before processing continues.',
    'Type: redis-cli CONFIG SET appendonly yes (and set it in redis.conf).',
  )
}

function clocks({ clockMs }: RedisServer, nowMs: number): Check {
  if (clockMs === null) return ok('redis clock', 'this server does not report its time.')
  const ahead = clockMs - nowMs
  const message = `${(Math.abs(ahead) / 1_000).toFixed(1)} s ${ahead < 0 ? 'behind' : 'ahead of'} this machine's clock.`
  if (Math.abs(ahead) <= clockWarnMs) return ok('redis clock', message)
  return warn('redis clock', message, 'Synchronize both machines with NTP.')
}
