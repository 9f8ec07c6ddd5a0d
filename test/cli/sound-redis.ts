/** A Redis as it should be, for the tests of the doctor. */
import type { RedisServer } from '../../feature-store/redis/server.ts'

export function soundRedis(clockMs: number): RedisServer {
  return {
    version: 'Redis 7.0.15',
    isPrimary: true,
    evictionPolicy: 'noeviction',
    usedBytes: 2 ** 20,
    bytesMax: null,
    isAppendOnly: true,
    failedWrite: null,
    clockMs,
  }
}
