/** Files of one's own in spans of event time, as `verify` and `start` send them. */
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { openSourceSpans } from '../../cli/environment/source-spans.ts'
import { compile } from '../../schemas/plan/compile.ts'
import { click, clicksPipeline, clicksStartMs } from '../support/clicks.ts'
import { scratchFolder } from './call.ts'

test('an end before that of the file is kept to, and what lies behind it is left for the next span', async () => {
  const file = join(await scratchFolder(), 'clicks.jsonl')
  const lines = Array.from({ length: 10 }, (_, n) =>
    JSON.stringify({ stream: 'clicks', ...click(`c${n}`, 'u', n).values }),
  )
  await writeFile(file, lines.join('\n'))
  const until = clicksStartMs + 4_000
  const spans = await openSourceSpans({ source: [file], until }, compile(clicksPipeline()), {
    stdin: () => Readable.from([]),
    terminal: { out: () => undefined, err: () => undefined },
    stopping: { signal: () => new AbortController().signal },
  })
  const idsOf = async (fromMs: number, untilMs?: number) => {
    const ids: unknown[] = []
    const rows = await spans.open({ fromMs, ...(untilMs === undefined ? {} : { untilMs }) })
    for await (const chunk of rows)
      for (const row of chunk) if ('values' in row) ids.push((row.values as { clickId: string }).clickId)
    return ids
  }
  expect(await idsOf(spans.startMs, until)).toEqual(['c0', 'c1', 'c2', 'c3'])
  expect(await idsOf(until)).toEqual(['c4', 'c5', 'c6', 'c7', 'c8', 'c9'])
})
