import { expect, test } from 'vitest'
import { createResponseReader } from '../../bench/response-reader.ts'

const response = (status: number, body: string) =>
  Buffer.from(`HTTP/1.1 ${status} Text\r\nContent-Length: ${Buffer.byteLength(body)}\r\nx: y\r\n\r\n${body}`)

test('responses are complete however they are split', () => {
  for (const size of [1, 2, 7, 40, 1_000]) {
    const statuses: number[] = []
    const read = createResponseReader((status) => void statuses.push(status))
    for (const whole of [response(200, '{"a":"é"}'), response(503, ''), response(200, 'x'.repeat(300))]) {
      for (let at = 0; at < whole.length; at += size) read(whole.subarray(at, at + size))
    }
    expect(statuses, `pieces of ${size}`).toEqual([200, 503, 200])
  }
})

test('what cannot be distinguished is a mistake, not a figure', () => {
  const read = () => createResponseReader(() => undefined)
  expect(() => read()(Buffer.from('HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n'))).toThrow(
    'without its length',
  )
  expect(() => read()(Buffer.concat([response(200, 'a'), response(200, 'b')]))).toThrow('more came than was requested')
  expect(() => read()(Buffer.alloc(20_000))).toThrow('a head of more than 16384 bytes')
})
