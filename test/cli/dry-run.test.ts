/** `produce --dry-run` of several streams: the first events of each of them, and what helps where values have another form. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { call, scratchFolder } from './call.ts'

async function dryRunOf(clicks: readonly string[], refunds: readonly string[]) {
  const folder = await scratchFolder()
  const [clicksFile, refundsFile] = [join(folder, 'clicks.csv'), join(folder, 'refunds.csv')]
  await writeFile(clicksFile, ['clickId,user,page,amount,at', ...clicks, ''].join('\n'))
  await writeFile(refundsFile, ['clickId,user,page,clickedAt,at', ...refunds, ''].join('\n'))
  const sources = ['--source', `clicks=${clicksFile}`, '--source', `refunds=${refundsFile}`]
  return call(['produce', 'test/cli/fixtures/clicks.ts', ...sources, '--dry-run'], {
    openBroker: () => expect.fail('no broker is needed'),
  })
}

test('shows the first events of each stream, however many of another come before them', async () => {
  const clicks = Array.from({ length: 20 }, (_, i) => `c${i},u,home,1,2026-01-01T10:${i + 10}:00Z`)
  const { code, out } = await dryRunOf(clicks, ['c0,u,home,2026-01-01T10:10:00Z,2026-01-02T10:00:00Z'])
  expect(code).toBe(0)
  const streams = out.filter((line) => line.startsWith('{')).map((line) => JSON.parse(line).stream)
  expect(streams).toEqual([...new Array(5).fill('clicks'), 'refunds'])
})

test('names the option for a date in another format', async () => {
  const { code, out } = await dryRunOf(['c,u,home,1,2026-1-1 6:0'], [])
  expect(code).toBe(3)
  expect(out.join('\n')).toMatch(/received 2026-1-1 6:0\n.*line 2\n {6}hint: --dates names the format of the field/)
})
