import { describe, expect, it } from 'vitest'
import { chunkKey } from '../../feature-store/redis/complete-logs.ts'
import { taskKeys } from '../../feature-store/redis/keys.ts'

describe('keys', () => {
  it('share one hash tag per task', () => {
    const keys = taskKeys('', 'card-fraud', 'customer', 3)
    expect([keys.owner, keys.position, keys.identity, `${keys.tailPrefix}c-7`, chunkKey(keys, 'c-7', 12)]).toEqual([
      '{card-fraud.customer.3}:owner',
      '{card-fraud.customer.3}:position',
      '{card-fraud.customer.3}:identity',
      '{card-fraud.customer.3}:log:c-7',
      '{card-fraud.customer.3}:chunk:12:c-7',
    ])
  })

  it('begin with the namespace', () => {
    expect(taskKeys('blue.', 'card-fraud', 'customer', 0).tailPrefix).toBe('{blue.card-fraud.customer.0}:log:')
  })

  it('escape what a pattern would read as a wildcard', () => {
    expect(taskKeys('a*[b]?\\', 'p', 'e', 0).logPattern).toBe('{a\\*\\[b\\]\\?\\\\p.e.0}:[lc]*')
  })

  it('reject names that would end the hash tag early', () => {
    expect(() => taskKeys('a}', 'p', 'e', 0)).toThrow('a key name may not hold a brace: a}p.e.0')
  })
})
