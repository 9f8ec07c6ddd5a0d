import { describe, expect, test } from 'vitest'
import { batchOf, hourMs, label, openStore, prediction, rowLines, startMs, vectorOf } from './store-fixture.ts'

describe('maturing', () => {
  test('an event is mature once both inputs have passed its time by so much, in the order of event time', async () => {
    const store = await openStore()
    const rows = [
      prediction('b', 20, { offset: 0 }),
      prediction('a', 10, { offset: 1 }),
      prediction('c', 20, { offset: 2 }),
      prediction('d', 7_200, { offset: 3 }),
    ]
    await store.apply(batchOf(rows, []))
    expect(store.status()).toMatchObject({ watermarkMs: Number.NEGATIVE_INFINITY, maturedSeq: 0 })
    await store.apply(batchOf([], [label('c', 3_615, { offset: 0 })]))
    expect(store.status()).toMatchObject({
      watermarkMs: startMs + 3_615_000,
      maturedUntilMs: startMs + 15_000,
      maturedSeq: 1,
      rows: { waiting: 3, matured: 1, labels: 1 },
    })
    await store.apply(batchOf([], [label('nobody', 3_620, { offset: 1 })]))
    const mature = await store.matured(0, 100)
    expect(rowLines(mature)).toEqual(['a 10 0', 'b 20 0', 'c 20 1'])
    expect([...mature.seqs]).toEqual([1, 2, 3])
    expect(mature).toMatchObject({
      rowCount: 3,
      rows: Float64Array.from([1, 0, 2].flatMap(vectorOf)),
      weights: Float64Array.of(1, 1, 1),
      scores: Float64Array.of(1 / 2, Number.NaN, 1 / 3),
      versions: ['v1', null, 'v0'],
      keys: ['user1', 'user0', 'user2'],
      labelTimes: Float64Array.of(Number.NaN, Number.NaN, startMs + 3_615_000),
      shadows: [[], [], []],
    })
    expect(rowLines(await store.matured(1, 1))).toEqual(['b 20 0'])
    expect(rowLines(await store.matured(3, 100))).toEqual([])
  })

  test('a label counts that is dated within the time, however far the labels were read; later ones count as later', async () => {
    const store = await openStore()
    await store.apply(batchOf([prediction('a', 0, { offset: 0 }), prediction('z', 9_000, { offset: 1 })], []))
    const labels = [
      label('a', 3_600, { offset: 0, outcome: 0 }),
      label('a', 3_601, { offset: 1, outcome: 1 }),
      label('x', 9_000, { offset: 2 }),
    ]
    await store.apply(batchOf([], labels))
    expect(rowLines(await store.matured(0, 100))).toEqual(['a 0 0'])
    const all = { fromMs: 0, untilMs: startMs + hourMs * 24 }
    expect(rowLines(await store.rows(all, 'due'))).toEqual(['a 0 0'])
    expect(rowLines(await store.rows(all, 'latest'))).toEqual(['a 0 1'])
    await store.apply(batchOf([], [label('a', 9_100, { offset: 3, outcome: null })]))
    const latest = await store.rows(all, 'latest')
    expect(rowLines(latest)).toEqual(['a 0 0'])
    expect(latest.labelTimes[0]).toBeNaN()
    // Older than what holds.
    await store.apply(batchOf([], [label('a', 9_050, { offset: 4, outcome: 1 })]))
    expect(rowLines(await store.rows(all, 'latest'))).toEqual(['a 0 0'])
  })

  test('of several labels the latest holds, and one that was withdrawn counts as none', async () => {
    const store = await openStore()
    const ids = ['corrected', 'withdrawn', 'again', 'tie']
    await store.apply(
      batchOf(
        ids.map((id, offset) => prediction(id, offset, { offset })),
        [],
      ),
    )
    const outcomes: Array<[string, number, 0 | 1 | null]> = [
      ['corrected', 100, 1],
      ['withdrawn', 100, 1],
      ['again', 100, null],
      ['tie', 100, 1],
      ['tie', 100, 0],
      ['corrected', 50, 1],
      ['corrected', 200, 0],
      ['withdrawn', 200, null],
      ['again', 200, 1],
      ['end', 20_000, 1],
    ]
    const labels = outcomes.map(([id, seconds, outcome], offset) => label(id, seconds, { offset, outcome }))
    await store.apply(batchOf([prediction('end', 20_000, { offset: 4 })], labels))
    const mature = await store.matured(0, 100)
    expect(rowLines(mature)).toEqual(['corrected 0 0', 'withdrawn 1 0', 'again 2 1', 'tie 3 0'])
    expect([...mature.labelTimes].map((ms) => (ms - startMs) / 1_000)).toEqual([200, Number.NaN, 200, 100])
    expect(store.status().rows).toEqual({ waiting: 1, matured: 4, labels: 1 })
  })

  test('an event that comes late is mature at once, after those that have matured', async () => {
    const store = await openStore()
    await store.apply(batchOf([prediction('a', 10, { offset: 0 })], [label('late', 50, { offset: 0 })]))
    await store.apply(batchOf([prediction('z', 9_000, { offset: 1 })], [label('z', 9_000, { offset: 1 })]))
    await store.apply(batchOf([prediction('late', 5, { offset: 2 })], []))
    expect(rowLines(await store.matured(0, 100))).toEqual(['a 10 0', 'late 5 1'])
    expect(rowLines(await store.rows({ fromMs: 0, untilMs: startMs + hourMs }, 'due'))).toEqual(['late 5 1', 'a 10 0'])
    expect(store.status().counts).toMatchObject({ matured: 2, maturedLate: 1 })
  })

  test('a partition that is behind holds back its input; one at its end guarantees the earlier watermark of the others', async () => {
    const store = await openStore()
    const read = (input: 'predictions' | 'label', partition: number, passed: number | null, isAtEnd = false) => ({
      input,
      partition,
      from: 0,
      next: 1,
      passedMs: passed === null ? Number.NEGATIVE_INFINITY : startMs + passed * 1_000,
      isAtEnd,
    })
    const passed = () => (store.status().watermarkMs - startMs) / 1_000
    const predictions = read('predictions', 0, 90_000)
    await store.apply({
      predictions: [],
      labels: [],
      read: [predictions, read('label', 0, 500), read('label', 1, 100)],
    })
    expect(passed()).toBe(100)
    await store.apply({ predictions: [], labels: [], read: [read('label', 0, 800), read('label', 1, null)] })
    expect(passed()).toBe(100)
    await store.apply({ predictions: [], labels: [], read: [read('label', 0, 900), read('label', 1, null, true)] })
    expect(passed()).toBe(800)
    await store.apply({
      predictions: [],
      labels: [],
      read: [read('label', 0, null, true), read('label', 1, null, true)],
    })
    expect(passed()).toBe(900)
  })
})

describe('what comes more than once', () => {
  test('the same span applied again changes nothing', async () => {
    const store = await openStore()
    const batch = batchOf(
      [prediction('a', 0, { offset: 0 }), prediction('z', 9_000, { offset: 1 })],
      [label('a', 10, { offset: 0 }), label('z', 9_000, { offset: 1 })],
      { counts: { foreign: 3, passedOver: 2 } },
    )
    const first = await store.apply(batch)
    expect(first.counts).toMatchObject({ predictions: 2, labels: 2, foreign: 3, passedOver: 2 })
    expect(await store.apply(batch)).toEqual(first)
    expect(rowLines(await store.matured(0, 100))).toEqual(['a 0 1'])
  })

  test('an event that is predicted again is a duplicate, whether it waits or is mature', async () => {
    const store = await openStore()
    const twice = [prediction('a', 0, { offset: 0 }), prediction('a', 0, { offset: 1, n: 7 })]
    await store.apply(batchOf(twice, []))
    await store.apply(batchOf([prediction('a', 0, { offset: 2, n: 8 })], []))
    await store.apply(batchOf([prediction('z', 9_000, { offset: 3 })], [label('z', 9_000, { offset: 0 })]))
    await store.apply(batchOf([prediction('a', 0, { offset: 4, n: 9 })], []))
    const mature = await store.matured(0, 100)
    expect(rowLines(mature)).toEqual(['a 0 0'])
    expect([...mature.rows]).toEqual(vectorOf(0))
    expect(store.status()).toMatchObject({
      rows: { waiting: 1, matured: 1 },
      counts: { predictions: 2, duplicatePredictions: 3 },
    })
  })
})

describe('one event', () => {
  test('is found by its id, with its label once that is known', async () => {
    const store = await openStore()
    const shadow = [{ version: 'v9', score: 1 / 3 }]
    await store.apply(batchOf([prediction('a', 0, { offset: 0, n: 3, shadow }), prediction('b', 5, { offset: 1 })], []))
    const found = {
      id: 'a',
      time: startMs,
      key: 'user3',
      score: 1 / 4,
      modelVersion: 'v1',
      shadow,
      features: vectorOf(3),
      partition: 0,
      offset: 0,
      label: null,
    }
    expect(await store.find('a')).toEqual(found)
    expect(await store.find('nobody')).toBeNull()
    await store.apply(batchOf([], [label('a', 60, { offset: 0 })]))
    expect(await store.find('a')).toEqual({ ...found, label: { outcome: 1, time: startMs + 60_000 } })
    await store.apply(batchOf([prediction('z', 9_000, { offset: 2 })], [label('z', 9_000, { offset: 1 })]))
    expect(await store.find('a')).toEqual({ ...found, label: { outcome: 1, time: startMs + 60_000 } })
    expect(await store.find('b')).toMatchObject({ label: { outcome: 0, time: null } })
    expect((await store.matured(0, 1)).shadows).toEqual([shadow])
  })
})
