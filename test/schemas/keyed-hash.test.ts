/** The keyed hash of ids against the vectors of SipHash-1-3, and that bytes and text give the same. */
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { createKeyedHash, fixedHashKey, hashIdBytes, hashIdText, hashKeyName } from '../../schemas/kernel/keyed-hash.ts'

/**
 * SipHash-1-3 of 00, 00 01, 00 01 02 and so on under the key 00 to 0f, from OpenSSL (`openssl mac` with c-rounds:1, d-rounds:3 and size:8).
 */
const vectors =
  `93ca577df39bf4c9 4dd4c74d029bcb82 fbf7dde7b80af88b 2883d388605775cf 673b53492fd5f9de a7229fc5502b0dc5 4011b19b987d92d3
  8e9a298d11959036 e43d066cb38ea425 7f09ff92ee85de79 52c34df9c118c170 a2d9b457b184a378 a7ff29120c766f30 345df9c011a15a60
  5699512a6dd820d3 668b907d1add4fcc 0cd8db639068f29c 3ee673b49c38fc8f 1c7d298de59d1ff2 40e0cca6462fdcc0 44f8452bfeab92b9
  2e8720a39b7bfe7f 23c1e6da7f0e5a52 8c9c3467b2ae64f4 79095b702859cd45 a51399cae3353e3a 353bde4a4ec71da9 0dd06cef02ed0bfb
  f4e1b14ab43cd988 63e6c543d6110f54 bcd1218c1fdd7023 0db6a7166c7b1581 bff98f7ae5b9544d 3e752a1f78129f75 916b18bfbea3a1ce
  0662a2add308f52c 5730c3a32d1c10b6 a1363aae9674f4b3 9283107b54576b62 3115e4993236d2c1 44d91a3f92c17c66 258813c8fe4f7065
  a64989c2d180f224 6b87f8faed1ccac2 9621049ffc4b16c2 23d6b168939c6ea1 fd14518b9c16fb49 464c07dff843319f b386cc1224affdc6
  8f09520ad149af7e 9a2f299d5513f31c 121ff4a2dd304ac4 d01ea74389e9fa36 e6bcf0734cb38f31 80e9a77036bf7aa2 756d3c24dbc0bcb4
  1315b7fd52d8f823 088a7da64d5f038f 48f1e8b7e5d09cd8 ee44a6f7bce6f4f6 f237180fd89ac5ae e094664b15f6b2c3 a8b3bbb76290199d`.split(
    /\s+/,
  )

const hash = createKeyedHash(fixedHashKey)

function digits({ low, high }: { readonly low: number; readonly high: number }): string {
  const bytes = Buffer.alloc(8)
  bytes.writeInt32LE(low, 0)
  bytes.writeInt32LE(high, 4)
  return bytes.toString('hex')
}

describe('the hash', () => {
  test('is SipHash-1-3 of the id and then the stream', () => {
    const message = Uint8Array.from({ length: 64 }, (_, index) => index)
    const found = vectors.map((_, index) => {
      hashIdBytes(hash, index, message, 0, index)
      return digits(hash)
    })
    expect(found).toEqual(vectors)
  })

  test('of bytes anywhere in a buffer and of their text is the same, of any length', () => {
    const texts = fc.oneof(fc.string({ unit: 'binary', maxLength: 40 }), fc.string({ maxLength: 700 }))
    fc.assert(
      fc.property(texts, fc.nat(7), fc.nat(20), (text, stream, before) => {
        hashIdText(hash, stream, text)
        const expected = digits(hash)
        const bytes = Buffer.concat([Buffer.alloc(before, 0xff), Buffer.from(text), Buffer.alloc(9, 0xee)])
        hashIdBytes(hash, stream, bytes, before, bytes.length - 9)
        expect(digits(hash)).toBe(expected)
      }),
      { numRuns: 2_000 },
    )
  })

  test('tells ids, streams and keys apart', () => {
    const other = createKeyedHash(fixedHashKey.map((byte) => byte ^ 0x80))
    const found = new Set<string>()
    for (const of of [hash, other]) {
      for (let stream = 0; stream < 8; stream++) {
        for (let id = 0; id < 5_000; id++) {
          hashIdText(of, stream, `tx-${id}`)
          found.add(digits(of))
        }
      }
    }
    expect(found.size).toBe(2 * 8 * 5_000)
  })

  test('needs 16 bytes of key, whose name is not the key', () => {
    expect(() => createKeyedHash(new Uint8Array(15))).toThrow('a key of hashes has 16 bytes, not 15')
    expect(hashKeyName(fixedHashKey)).toMatch(/^[0-9a-f]{16}$/)
    expect(hashKeyName(fixedHashKey)).not.toBe(hashKeyName(fixedHashKey.map((byte) => byte ^ 1)))
  })
})
