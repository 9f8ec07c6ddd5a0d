import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'
import { assertKafkajsVersion, kafkajsVersion, openEndpoint } from '../../../runtime/kafka/kafkajs-connection.ts'

const require = createRequire(import.meta.url)

describe('the seam to kafkajs', () => {
  test('fits the installed version and rejects every other', () => {
    expect(require('kafkajs/package.json').version).toBe(kafkajsVersion)
    expect(() => assertKafkajsVersion(kafkajsVersion)).not.toThrow()
    expect(() => assertKafkajsVersion('2.2.5')).toThrow(
      expect.objectContaining({
        code: 'kafka_version_unsupported',
        message: 'kafkajs 2.2.5 is installed, but Millrace works on the internals of exactly 2.2.4: run npm ci',
      }),
    )
  })

  test('leaves no timer in an idle request queue', async () => {
    const log = () => undefined
    await openEndpoint('127.0.0.1', 1, { clientId: 'c', connectTimeoutMs: 100, requestTimeoutMs: 100, log })
    const RequestQueue = require('kafkajs/src/network/requestQueue')
    const quiet = { namespace: () => quiet, debug: log, info: log, warn: log, error: log }
    const queue = new RequestQueue({
      maxInFlightRequests: 1,
      requestTimeout: 1_000,
      enforceRequestTimeout: false,
      clientId: 'c',
      broker: 'b',
      logger: quiet,
    })
    queue.scheduleCheckPendingRequests()
    expect(queue.throttleCheckTimeoutId).toBe(null)
    queue.pending.push({})
    queue.scheduleCheckPendingRequests()
    expect(queue.throttleCheckTimeoutId).not.toBe(null)
    queue.destroy()
  })

  test('logs the same failure once a second over all connections', async () => {
    const messages: string[] = []
    const log = (_level: string, message: string) => void messages.push(message)
    const options = { clientId: 'c', connectTimeoutMs: 1_000, requestTimeoutMs: 1_000, log }
    const endpoints = await Promise.all([1, 2, 3].map(() => openEndpoint('127.0.0.1', 1, options)))
    for (const endpoint of endpoints) await expect(endpoint.connect()).rejects.toThrow()
    expect(messages.length).toBeGreaterThan(0)
    expect(new Set(messages).size).toBe(messages.length)
  })
})
