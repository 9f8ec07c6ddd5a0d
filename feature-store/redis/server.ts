/**
 * The INFO reply of a Redis server comes in as text, what decides whether features are safe there goes out; called by
 * the Redis store.
 */
export interface RedisServer {
  readonly version: string
  /** False for a replica, which takes no writes. */
  readonly isPrimary: boolean
  readonly evictionPolicy: string
  readonly usedBytes: number
  /** Null: no limit but the machine's. */
  readonly bytesMax: number | null
  /** What is applied is in a file within a second. */
  readonly isAppendOnly: boolean
  /** Why the server rejects writes: its last attempt to write a file failed. */
  readonly failedWrite: 'append-only file' | 'snapshot' | null
  /** The server's clock when it answered, ms since 1970; null where it is not reported. */
  readonly clockMs: number | null
}

/** A fact that the server does not report is 'unknown', or 0 for a number. */
export function parseServerInfo(info: string): RedisServer {
  const facts = new Map(
    info
      .split(/\r?\n/)
      .map((line) => line.split(':'))
      .map(([name, ...value]) => [name!, value.join(':')]),
  )
  const text = (name: string) => facts.get(name) ?? 'unknown'
  const whole = (name: string) => Number(facts.get(name) ?? 0)
  const valkey = facts.get('valkey_version')
  const isAppendOnly = text('aof_enabled') === '1'
  const hasFailed = (name: string) => text(name) === 'err'
  return {
    version: valkey === undefined ? `Redis ${text('redis_version')}` : `Valkey ${valkey}`,
    isPrimary: text('role') === 'master',
    evictionPolicy: text('maxmemory_policy'),
    usedBytes: whole('used_memory'),
    bytesMax: whole('maxmemory') === 0 ? null : whole('maxmemory'),
    isAppendOnly,
    failedWrite:
      isAppendOnly && hasFailed('aof_last_write_status')
        ? 'append-only file'
        : hasFailed('rdb_last_bgsave_status')
          ? 'snapshot'
          : null,
    clockMs: facts.has('server_time_usec') ? whole('server_time_usec') / 1_000 : null,
  }
}
