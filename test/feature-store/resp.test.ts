/** Commands as bytes: the same as those of ioredis, for any arguments, in one buffer that is used again. */
import fc from 'fast-check'
import { Command } from 'ioredis'
import { expect, test } from 'vitest'
import {
  addBytes,
  addText,
  beginCommand,
  createRespWriter,
  endCommand,
  type RespWriter,
} from '../../feature-store/redis/resp.ts'

type Argument = string | Buffer

/** `prefix` is put before every text. */
function written(writer: RespWriter, name: string, prefix: string, args: readonly Argument[]): Buffer {
  beginCommand(writer, 1 + args.length)
  addText(writer, name)
  for (const arg of args) {
    if (typeof arg === 'string') addText(writer, arg, Buffer.from(prefix))
    else addBytes(writer, arg)
  }
  return Buffer.from(endCommand(writer))
}

function ofIoredis(name: string, prefix: string, args: readonly Argument[]): Buffer {
  const prefixed = args.map((arg) => (typeof arg === 'string' ? prefix + arg : arg))
  return Buffer.from(new Command(name, prefixed).toWritable({}))
}

const argument: fc.Arbitrary<Argument> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 40 }),
  fc.string({ maxLength: 40 }),
  fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
)

test('a command has the bytes that ioredis gives it, whatever was written before', () => {
  const writer = createRespWriter()
  fc.assert(
    fc.property(fc.array(argument, { maxLength: 30 }), fc.constantFrom('', '{tag}:log:', '{ключ}:'), (args, prefix) => {
      expect(written(writer, 'eval', prefix, args)).toEqual(ofIoredis('eval', prefix, args))
    }),
    { numRuns: 500 },
  )
})

test.each([0, 1, 9, 10, 99, 100, 127, 128, 65_535, 99_999, 100_000, 1_000_000])('an argument of %i bytes', (size) => {
  const args = [Buffer.alloc(size, 'x'), 'x'.repeat(size), Buffer.alloc(0), '']
  expect(written(createRespWriter(), 'mget', '', args).equals(ofIoredis('mget', '', args))).toBe(true)
})

test('a part of other bytes can be an argument', () => {
  const writer = createRespWriter()
  beginCommand(writer, 1)
  addBytes(writer, Buffer.from('abcdef'), 2, 5)
  expect(endCommand(writer).toString()).toBe('*1\r\n$3\r\ncde\r\n')
})

test('a command has as many arguments as it says', () => {
  const writer = createRespWriter()
  beginCommand(writer, 2)
  addText(writer, 'get')
  expect(() => endCommand(writer)).toThrow('a command lacks 1 arguments')
  addText(writer, 'a')
  expect(() => addText(writer, 'b')).toThrow('a command has more arguments than it began with')
})
