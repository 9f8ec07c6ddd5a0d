/** `millrace config`: the settings in effect, as lines and as JSON, and the messages for invalid ones. */
import { expect, test } from 'vitest'
import { configTable } from '../../runtime/config/config.ts'
import { call } from './call.ts'

const env = {
  KAFKA_BROKERS: 'kafka:9092',
  REDIS_URL: 'redis://me:hush@redis:6379',
  MILLRACE_COMMIT_EVERY_MS: '25',
}

test('a line for each setting, in the order of the table', async () => {
  const { code, out, err } = await call(['config'], { env })
  expect([code, err]).toEqual([0, []])
  const [head, ...lines] = out.map((line) => line.split(/ {2,}/))
  expect(head).toEqual(['variable', 'value', 'from', 'type', 'unit', 'meaning'])
  expect(lines.map(([variable]) => variable)).toEqual(configTable().map(({ variable }) => variable))
  const shown = (variable: string) => out.find((line) => line.startsWith(`${variable} `))?.replaceAll(/ {2,}/g, ' | ')
  expect(shown('REDIS_URL')).toMatch(/^REDIS_URL \| redis:\/\/\*\*\*@redis:6379 \| environment \| URL \| /)
  expect(shown('MILLRACE_COMMIT_EVERY_MS')).toMatch(
    /^MILLRACE_COMMIT_EVERY_MS \| 25 \| environment \| whole number \| ms \| /,
  )
  expect(shown('MILLRACE_HTTP_PORT')).toMatch(/^MILLRACE_HTTP_PORT \| 8080 \| default \| /)
})

test('the same as JSON', async () => {
  const { code, out } = await call(['config', '--json'], { env })
  expect(code).toBe(0)
  const rows = JSON.parse(out.join('\n')) as Array<{ variable: string }>
  expect(rows.find(({ variable }) => variable === 'MILLRACE_COMMIT_EVERY_MS')).toEqual({
    variable: 'MILLRACE_COMMIT_EVERY_MS',
    type: 'whole number',
    default: '10',
    unit: 'ms',
    sentence: 'Shortest time between two transactions while there is no backlog.',
    value: '25',
    from: 'environment',
  })
  expect(out.join('\n')).not.toContain('hush')
})

test('wrong settings are listed instead', async () => {
  const { code, out, err } = await call(['config'], { env: { KAFKA_TLS: 'yes', MILLRACE_PARTITIONS: '0' } })
  expect([code, out]).toEqual([1, []])
  expect(err.slice(0, 4)).toEqual([
    'error: 3 settings are wrong:',
    '  KAFKA_TLS: expected one of on, off, received yes',
    '  MILLRACE_PARTITIONS: expected a whole number from 1 to 1024, received 0',
    '  KAFKA_TLS: expected KAFKA_BROKERS beside it, received it alone',
  ])
})
