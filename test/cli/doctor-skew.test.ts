/** The doctor's line about the audit, against an HTTP server that answers as one does. */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { figuresCheck, skewExamination } from '../../cli/doctor/skew.ts'
import type { Subject } from '../../cli/doctor/subject.ts'
import type { AuditFigures } from '../../cli/proof/audit-route.ts'
import { parseConfig } from '../../runtime/config/config.ts'

const sound: AuditFigures = {
  pipeline: 'card-fraud',
  sample: 0.01,
  checked: 12_345,
  predictions: 6_000,
  differing: 0,
  skipped: { retention: 7 },
  pending: 3,
  replay: {
    compared: 5_000,
    provisional: 40,
    differing: { late: 2, overtaken: 0, early: 0, unexplained: 0 },
    largest: {},
    skipped: {},
    pending: 0,
  },
}

async function examine(port: number) {
  const config = { ...parseConfig({}), auditPort: port }
  const subject = { definition: 'pipelines/card-fraud.ts', config } as Subject
  const [check] = await skewExamination(subject, { fetch }).examine()
  return check!
}

async function answering(status: number, body: unknown): Promise<number> {
  const server = createServer((request, response) => {
    response.writeHead(request.url === '/audit' ? status : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(body))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  onTestFinished(() => void server.close())
  return (server.address() as AddressInfo).port
}

test('an audit that found nothing is well', async () => {
  expect(await examine(await answering(200, sound))).toMatchObject({
    status: 'ok',
    message:
      '0 of 12,345 outputs differ from their inputs in 1 % of the entities; 7 not checked, 3 pending. 2 of 5,000 predictions differ from ' +
      'the replay: 2 late, 0 overtaken, 0 early, 0 unexplained.',
  })
})

test('one that found a difference fails, and reports where to find details', async () => {
  expect(await examine(await answering(200, { ...sound, differing: 2 }))).toMatchObject({
    status: 'fail',
    message: expect.stringContaining('2 of 12,345 outputs differ from their inputs in 1 % of the entities'),
  })
})

test.each([
  ['overtaken', 'warn', /sent after the predictions/],
  ['early', 'warn', /released early/],
  ['unexplained', 'fail', /the audit's log/],
] as const)('predictions that differ from the replay are not well: %s', (cause, status, remedy) => {
  const differing = { ...sound.replay.differing, [cause]: 7 }
  const check = figuresCheck({ ...sound, replay: { ...sound.replay, differing } })
  expect(check).toMatchObject({ status, remedy: expect.stringMatching(remedy) })
  expect(check.message).toContain(`7 ${cause}`)
})

test('something else at its address is a warning; nothing there is advice', async () => {
  expect(await examine(await answering(404, {}))).toMatchObject({ status: 'warn' })
  const check = await examine(1)
  expect(check.status).toBe('ok')
  expect(check.message).toContain('no audit is running at http://127.0.0.1:1')
  expect(check.message).toContain('millrace audit pipelines/card-fraud.ts')
})
