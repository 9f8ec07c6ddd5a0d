import { describe, expect, test } from 'vitest'
import { createSchemaRegistry } from '../../runtime/schema-registry.ts'
import { startRegistry } from '../support/registry-server.ts'

const order = { type: 'record', name: 'order', fields: [{ name: 'id', type: 'string' }] }

const unreachable = (reason: RegExp) =>
  expect.objectContaining({ code: 'registry_unreachable', retry: true, message: expect.stringMatching(reason) })

describe('a schema registry', () => {
  test('gives the schema of an id, once', async () => {
    const server = await startRegistry()
    const id = server.add(order)
    const registry = createSchemaRegistry(`${server.url}/`)
    expect(await registry.schemaOf(id)).toMatchObject({ name: 'order', typeName: 'record' })
    await registry.schemaOf(id)
    expect(server.asked).toEqual([`GET /schemas/ids/${id}`])
    await expect(registry.check()).resolves.toBeUndefined()
  })

  test('registers a subject, under the same id when it is there, and says what it refuses', async () => {
    const server = await startRegistry()
    const registry = createSchemaRegistry(`${server.url}/`)
    const subject = { subject: 'a b.predictions-value', type: 'AVRO', schema: order, isRequired: true } as const
    const id = await registry.register(subject)
    expect([await registry.register(subject), id]).toEqual([id, id])
    expect(server.asked[0]).toBe('POST /subjects/a%20b.predictions-value/versions')
    expect(await registry.schemaOf(id)).toMatchObject({ name: 'order' })
    server.failures.push({ status: 422, body: '{"error_code":42201,"message":"Invalid schema"}' })
    await expect(registry.register(subject)).rejects.toMatchObject({ code: 'registry_rejected' })
    await expect(registry.check()).rejects.toMatchObject({ code: 'registry_rejected' })
    for (const body of ['<html>', '{"id":"seven"}']) server.failures.push({ status: 200, body })
    for (let i = 0; i < 2; i++)
      await expect(registry.register(subject)).rejects.toEqual(unreachable(/did not register/))
  })

  test('takes user and password from the URL', async () => {
    const server = await startRegistry()
    server.credentials = 'me:pass word'
    const id = server.add(order)
    const withUser = (user: string) => createSchemaRegistry(server.url.replace('//', `//${user}@`))
    expect(await withUser('me:pass%20word').schemaOf(id)).toMatchObject({ name: 'order' })
    const refused = withUser('me:secret')
    const failure = await refused.schemaOf(id).catch((error: Error) => error)
    expect(failure).toEqual(unreachable(/^The schema registry at http:\/\/127.0.0.1:\d+ did not give .*Unauthorized/))
    expect(String(failure)).not.toContain('secret')
    await expect(refused.check()).rejects.toBe(failure)
  })

  test('has no schema of an id that it reports as missing', async () => {
    const server = await startRegistry()
    expect(await createSchemaRegistry(server.url).schemaOf(5)).toBe(null)
  })

  test('at a wrong address answers 404 as well: that is no answer', async () => {
    const server = await startRegistry()
    const registry = createSchemaRegistry(`${server.url}/elsewhere`)
    await expect(registry.schemaOf(5)).rejects.toEqual(unreachable(/404/))
  })

  test('that answers with anything but a schema is no registry', async () => {
    const server = await startRegistry()
    for (let i = 0; i < 2; i++) server.failures.push({ status: 200, body: '<html>Hello</html>' })
    await expect(createSchemaRegistry(server.url).schemaOf(5)).rejects.toEqual(unreachable(/did not give/))
  })

  test.each([
    ['{"type":"object"}', { schemaType: 'JSON' }],
    ['syntax = "proto3"; message Order { string id = 1; }', { schemaType: 'PROTOBUF' }],
    ['who knows', { schemaType: 'XML' }],
    ['{"type":"nothing"}', {}],
  ])('tells what is no Avro: %s', async (schema, more) => {
    const server = await startRegistry()
    const id = server.add(schema, more)
    expect(await createSchemaRegistry(server.url).schemaOf(id)).toEqual({
      notAvro: expect.stringMatching(`^schema id ${id}, which is no Avro schema`),
    })
  })

  test('is queried again after a failure of its own, and by health until it has answered', async () => {
    const server = await startRegistry()
    const id = server.add(order)
    const failure = { status: 503, body: '{"error_code":50301,"message":"starting"}' }
    server.failures.push(failure)
    const registry = createSchemaRegistry(server.url)
    expect(await registry.schemaOf(id)).toMatchObject({ name: 'order' })
    const later = server.add({ ...order, name: 'later' })
    for (let i = 0; i < 3; i++) server.failures.push(failure)
    await expect(registry.schemaOf(later)).rejects.toEqual(unreachable(/starting/))
    await expect(registry.check()).rejects.toEqual(unreachable(/starting/))
    expect(await registry.schemaOf(later)).toMatchObject({ name: 'later' })
    await expect(registry.check()).resolves.toBeUndefined()
  })

  test('that is not reachable is reported', async () => {
    const server = await startRegistry()
    await server.close()
    await expect(createSchemaRegistry(server.url).schemaOf(5)).rejects.toEqual(unreachable(/ECONNREFUSED/))
  })
})
