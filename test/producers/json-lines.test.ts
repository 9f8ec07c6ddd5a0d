import fc from 'fast-check'
import { expect, test } from 'vitest'
import { jsonLines } from '../../producers/json-lines.ts'
import type { SourceEvent } from '../../producers/prepare.ts'

async function read(
  pieces: readonly Buffer[],
  options: { stream?: string; lineBytesMax?: number } = {},
): Promise<SourceEvent[]> {
  async function* source() {
    yield* pieces
  }
  const events: SourceEvent[] = []
  const { stream = null, ...more } = options
  for await (const chunk of jsonLines(source(), { sourceName: 'f', stream, ...more })) events.push(...chunk)
  return events
}

test('each line names its stream, or all have the configured one', async () => {
  const text = Buffer.from('{"stream":"a","x":1}\n{"stream":"b"}\n')
  expect(await read([text])).toEqual([
    { stream: 'a', values: { stream: 'a', x: 1 }, location: 'f, line 1' },
    { stream: 'b', values: { stream: 'b' }, location: 'f, line 2' },
  ])
  expect(await read([Buffer.from('{"x":1}')], { stream: 'a' })).toEqual([
    { stream: 'a', values: { x: 1 }, location: 'f, line 1' },
  ])
})

test('empty lines and Windows ends of lines are passed over, and still counted', async () => {
  const events = await read([Buffer.from('\r\n\n{"stream":"a"}\r\n\n{"stream":"b"}')])
  expect(events.map(({ location }) => location)).toEqual(['f, line 3', 'f, line 5'])
})

test('a line that is no event is reported with its number, and the reading continues', async () => {
  const pieces = [
    Buffer.from('{"stream":"a"\n[1]\nnull\n"\xff'),
    Buffer.from([0xff]),
    Buffer.from('"\n{"stream":7}\n{"stream":"b"}\n'),
  ]
  const events = await read(pieces)
  expect(
    events.map((event) =>
      'problems' in event
        ? `${event.location} ${event.problems[0]!.path}${event.problems[0]!.code}`
        : 'stream' in event && event.stream,
    ),
  ).toEqual([
    'f, line 1 not_json',
    'f, line 2 /streammissing',
    'f, line 3 /streammissing',
    'f, line 4 not_json',
    'f, line 5 /streammissing',
    'b',
  ])
})

test('a line that is too long is reported and passed over without being kept', async () => {
  const long = Buffer.alloc(50, 'x')
  const events = await read([Buffer.from('{"stream":"a"}\n'), long, long, Buffer.from('\n{"stream":"b"}\n')], {
    lineBytesMax: 60,
  })
  expect(events).toEqual([
    { stream: 'a', values: { stream: 'a' }, location: 'f, line 1' },
    {
      location: 'f, line 2',
      problems: [{ path: '', code: 'length', expected: 'a line of at most 60 bytes', received: '100 bytes' }],
    },
    { stream: 'b', values: { stream: 'b' }, location: 'f, line 3' },
  ])
})

test('where the pieces are cut makes no difference', async () => {
  const seed = 20_260_101
  const text = Buffer.from('{"stream":"a","name":"Zoë"}\n\n{"stream":"b","n":1.5}\r\nnonsense\n{"stream":"c"}')
  const whole = await read([text])
  expect(whole).toHaveLength(4)
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(text.length), { maxLength: 8 }), async (cuts) => {
      const locations = [0, ...cuts.sort((a, b) => a - b), text.length]
      const pieces = locations.slice(1).map((to, i) => text.subarray(locations[i], to))
      expect(await read(pieces)).toEqual(whole)
    }),
    { seed, numRuns: 100 },
  )
})
