/** What the doctor makes of figures that it is given, line by line: no broker, no store. */
import { describe, expect, test } from 'vitest'
import { diskCheck, memoryCheck, nodeCheck, shownBytes } from '../../cli/doctor/machine.ts'
import { orderCheck } from '../../cli/doctor/order.ts'
import { redisChecks } from '../../cli/doctor/redis.ts'
import { parseServerInfo, type RedisServer } from '../../feature-store/redis/server.ts'
import { soundRedis } from './sound-redis.ts'

const definition = 'test/cli/fixtures/clicks.ts'
const startMs = 1_704_070_800_000
const server = soundRedis(startMs)

describe('figures', () => {
  const at = { pingMs: 1, nowMs: startMs, address: 'cache:6379' }
  const status = (more: Partial<RedisServer>, name: string) =>
    redisChecks({ ...server, ...more }, at).find((check) => check.name === name)!

  test('of Redis', () => {
    expect(status({ evictionPolicy: 'allkeys-lru' }, 'redis policy')).toEqual({
      name: 'redis policy',
      status: 'fail',
      message: 'maxmemory-policy is allkeys-lru, expected noeviction: features could be evicted unnoticed.',
      remedy: 'Type: redis-cli CONFIG SET maxmemory-policy noeviction (and set it in redis.conf).',
    })
    const full = (usedBytes: number) => status({ usedBytes, bytesMax: 1_000 }, 'redis memory')
    expect([full(799).status, full(800).status, full(949).status, full(950).status]).toEqual([
      'ok',
      'warn',
      'warn',
      'fail',
    ])
    expect(full(950).message).toBe('950 bytes of maxmemory 1000 bytes used (95 %).')
    expect(status({ isAppendOnly: false }, 'redis persistence').status).toBe('warn')
    expect(status({ failedWrite: 'append-only file' }, 'redis persistence')).toMatchObject({
      status: 'fail',
      message: 'the last write of the append-only file failed: Redis refuses writes.',
    })
    expect(status({ isPrimary: false }, 'redis')).toMatchObject({
      status: 'fail',
      message: 'Redis 7.0.15 at cache:6379 is a replica, which takes no writes.',
    })
    expect(status({ clockMs: startMs - 1_500 }, 'redis clock')).toMatchObject({
      status: 'warn',
      message: "1.5 s behind this machine's clock.",
    })
    expect(redisChecks(server, { ...at, pingMs: 21 })[0]!.status).toBe('warn')
  })

  test('of the machine', () => {
    expect(nodeCheck('20.18.3', '2.2.4')).toEqual({
      name: 'node',
      status: 'fail',
      message: 'Node 20.18.3, expected 20.19 or newer.',
      remedy: 'Install Node 20.19 or newer.',
    })
    expect(['20.19.0', '22.0.0', '24.1.0'].map((version) => nodeCheck(version, '2.2.4').status)).toEqual([
      'ok',
      'ok',
      'ok',
    ])
    const disk = (bytes: number) => diskCheck(bytes, '/data').status
    expect([disk(2 ** 30), disk(2 ** 30 - 1), disk(1e8)]).toEqual(['ok', 'warn', 'fail'])
    expect(memoryCheck(2 ** 29 - 1, 2 ** 32)).toMatchObject({
      status: 'warn',
      message: '512 MB of 4.0 GB free on this machine.',
    })
    expect([0, 1_023, 1_024, 1_536, 200 * 2 ** 20, 2 ** 40].map(shownBytes)).toEqual([
      '0 bytes',
      '1023 bytes',
      '1.0 kB',
      '1.5 kB',
      '200 MB',
      '1.0 TB',
    ])
  })

  test('of Redis are parsed from its INFO reply', () => {
    const info = 'redis_version:7.2.4\r\nrole:slave\r\nmaxmemory:1000\r\nused_memory:10\r\naof_enabled:1\r\n'
    expect(parseServerInfo(`# Server\r\n${info}aof_last_write_status:err\r\nmaxmemory_policy:noeviction`)).toEqual({
      version: 'Redis 7.2.4',
      isPrimary: false,
      evictionPolicy: 'noeviction',
      usedBytes: 10,
      bytesMax: 1_000,
      isAppendOnly: true,
      failedWrite: 'append-only file',
      clockMs: null,
    })
    expect(
      parseServerInfo(
        'valkey_version:9.0.1\r\nredis_version:7.2.4\r\nserver_time_usec:1704067200123456\r\nrdb_last_bgsave_status:err',
      ),
    ).toMatchObject({
      version: 'Valkey 9.0.1',
      failedWrite: 'snapshot',
      bytesMax: null,
      clockMs: 1_704_067_200_123.456,
    })
  })
})

test('events out of order are a warning once predictions were made without them', () => {
  const counts = { late: 3, early: 0, overtaken: 0, uncounted: 0, read: 1_000 }
  const late = '3 events of at most 1,000 came when later ones had been folded, none was released early'
  expect(orderCheck('order user', counts, definition)).toEqual({
    name: 'order user',
    status: 'ok',
    message: `${late}.`,
  })
  expect(orderCheck('order user', { ...counts, overtaken: 1_234, uncounted: 1 }, definition)).toEqual({
    name: 'order user',
    status: 'warn',
    message:
      `${late}: at least 1,234 (facts of the others are kept no longer) predictions were made before facts of their windows ` +
      'arrived.',
    remedy:
      `To compute all of history again, type: millrace recompute ${definition} --from <instant>. ` +
      'Send streams together, in event time: produce --source a=… --source b=…; docs/producing.md says why.',
  })
})
