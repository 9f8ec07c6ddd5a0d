import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { repeatedMembers } from '../../schemas/wire/repeated-members.ts'
import { drawn } from '../support/nightly.ts'
import { codec, expectedOf, type Field, fields, json, lines, problemsOf, sound, withText } from './order-codec.ts'

const seed = 20260814

describe('what is meant to do harm', () => {
  test('keys of the prototype are neither read nor written', () => {
    const { id: _, ...rest } = sound
    const text = `{"__proto__":{"id":"a1","polluted":1},"constructor":{"prototype":{"polluted":1}},${JSON.stringify(rest).slice(1)}`
    expect(lines(codec.decode(Buffer.from(text)))).toEqual([
      `/id missing: ${expectedOf.id}; nothing, but /__proto__/id is there`,
    ])
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
    const found = codec.decode(Buffer.from(`{"__proto__":{"polluted":1},${JSON.stringify(sound).slice(1)}`))
    expect(found).toEqual({ ok: true, event: sound })
    expect(found.ok && Object.getPrototypeOf(found.event)).toBe(Object.prototype)
  })

  test('a field given twice is a rejection, however its name is written; an undeclared one is not', () => {
    const prefixed = (text: string) => Buffer.from(`{${text},${JSON.stringify(sound).slice(1)}`)
    expect(lines(codec.decode(prefixed('"amount":12.34')))).toEqual(['/amount repeated: one value; several'])
    expect(lines(codec.decode(prefixed('"\\u0061mount" : {"a":":,}"},"id":"b"')))).toEqual([
      '/id repeated: one value; several',
      '/amount repeated: one value; several',
    ])
    expect(codec.decode(prefixed('"extra":{"id":1,"id":2},"extra":["{",{"amount":0}]')).ok).toBe(true)
    expect(codec.decode(prefixed('"note\\"id":":{","x":"\\\\"')).ok).toBe(true)
    expect(lines(codec.decode(Buffer.from('{"id":"a1","id":"a1"}')))[0]).toBe('/id repeated: one value; several')
  })

  test('whole numbers that JSON rounds are rejections, at both ends and on both ways', () => {
    for (const text of ['9007199254740992', '9007199254740993', '-9007199254740993', '18446744073709551615', '1e400']) {
      expect(lines(codec.decode(withText('total', text)))).toEqual([`/total type: ${expectedOf.total}; ${text}`])
      expect(codec.decode(withText('at', text)).ok).toBe(false)
    }
    const total = Number.MAX_SAFE_INTEGER
    expect(codec.decode(withText('total', '9007199254740991'))).toEqual({ ok: true, event: { ...sound, total } })
    expect(codec.decode(withText('ratio', '0.1000000000000000055'))).toEqual({ ok: true, event: sound })
  })

  test('deep nesting is a rejection', () => {
    const deep = `${'['.repeat(200_000)}${']'.repeat(200_000)}`
    expect(lines(codec.decode(withText('id', deep)))).toEqual([
      `/id type: ${expectedOf.id}; [[[[[[[…]]]]]]]`.replaceAll(/\[+…\]+/g, '[[[[[[[[…]]]]]]]]'),
    ])
    expect(lines(codec.decode(Buffer.from(deep)))).toEqual([
      ' type: an object with the fields of the event; one event at a time; [[[[[[[[…]]]]]]]]',
    ])
    expect(codec.decode(Buffer.from('['.repeat(1_000_000))).ok).toBe(false)
    const nested = `${'{"a":'.repeat(100_000)}1${'}'.repeat(100_000)}`
    expect(codec.decode(withText('amount', nested)).ok).toBe(false)
    expect(codec.decode(Buffer.from(`{"extra":${nested},${JSON.stringify(sound).slice(1)}`))).toEqual({
      ok: true,
      event: sound,
    })
  })

  test('huge values are shown shortened', () => {
    expect(lines(codec.decode(withText('id', `"${'x'.repeat(1_000_000)}"`)))).toEqual([
      `/id length: ${expectedOf.id}; "${'x'.repeat(120)}"… (1000000 characters)`,
    ])
    expect(lines(codec.decode(withText('id', `[${'1,'.repeat(200_000)}1]`)))).toEqual([
      `/id type: ${expectedOf.id}; [${'1,'.repeat(59)}1…`,
    ])
    const [problem] = problemsOf(codec.decode(Buffer.from('x'.repeat(1_000_000))))
    expect(problem!.received.length).toBeLessThan(150)
  })

  test('any bytes are an event or a rejection, never an exception', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 64 }).map((given) => Buffer.from(given)),
      fc.uint8Array({ maxLength: 64 }).map((given) => Buffer.concat([codec.encode(sound).subarray(0, 10), given])),
      fc.json({ maxDepth: 4 }).map((text) => Buffer.from(text)),
      fc
        .record(
          Object.fromEntries(
            fields.map(({ name }) => [name, fc.oneof(fc.jsonValue(), fc.constant(sound[name as Field]))]),
          ),
        )
        .map(json),
      fc.tuple(fc.nat(), fc.nat(255)).map(([at, byte]) => {
        const bent = codec.encode(sound)
        bent[at % bent.length] = byte
        return bent
      }),
    )
    fc.assert(
      fc.property(bytes, (given) => {
        const found = codec.decode(given)
        if (!found.ok) {
          expect(found.problems.length).toBeGreaterThan(0)
          for (const { received } of found.problems) {
            expect(received.length).toBeLessThan(150)
            expect(received.isWellFormed()).toBe(true)
          }
        } else expect(codec.decode(codec.encode(found.event))).toEqual(found)
      }),
      { seed, numRuns: drawn({ always: 1_000, nightly: 3_000 }) },
    )
  })

  test('members are repeated exactly where the parser has dropped some', () => {
    const name = fc.oneof(fc.constantFrom('a', 'b', '__proto__', '"', '\\'), fc.string({ maxLength: 3 }))
    const members = fc.array(fc.tuple(name, fc.jsonValue({ maxDepth: 2 })), { maxLength: 6 })
    fc.assert(
      fc.property(members, (given) => {
        const text = `{${given.map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value)}`).join(', ')}}`
        const names = given.map(([key]) => key)
        const twice = names.filter((one, at) => names.indexOf(one) !== at)
        const found = repeatedMembers(Buffer.from(text), JSON.parse(text))
        expect([...found].sort()).toEqual([...new Set(twice)].sort())
      }),
      { seed, numRuns: 1_000 },
    )
  })

  test('any values are an event or a rejection, never an exception', () => {
    const value = fc.oneof(fc.anything({ withBigInt: true, withDate: true, withNullPrototype: true }), fc.string())
    const values = fc.oneof(value, fc.record(Object.fromEntries(fields.map(({ name }) => [name, value]))))
    fc.assert(
      fc.property(values, fc.boolean(), (given, fromText) => {
        const found = codec.check(given, { fromText })
        expect(found.ok || found.problems.length > 0).toBe(true)
      }),
      { seed, numRuns: drawn({ always: 500, nightly: 2_000 }) },
    )
    expect(lines(codec.check({ ...sound, total: 9n }))).toEqual([`/total type: ${expectedOf.total}; 9`])
  })
})
