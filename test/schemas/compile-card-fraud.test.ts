import { describe, expect, test } from 'vitest'
import cardFraud from '../../pipelines/card-fraud.ts'
import { compile } from '../../schemas/plan/compile.ts'

const dayMs = 86_400_000

describe('the plan of card fraud', () => {
  const plan = compile(cardFraud)

  test('has its streams, the scored one first', () => {
    expect(plan.scored).toBe(plan.streams[0])
    expect(
      plan.streams.map(({ codec, fields, ...stream }) => ({ ...stream, fields: fields.map((f) => f.name) })),
    ).toEqual([
      {
        name: 'transactions',
        index: 0,
        topic: 'transactions',
        idField: 'txId',
        keyField: 'customerId',
        timeField: 'at',
        fields: ['txId', 'customerId', 'terminalId', 'amount', 'at'],
        columns: { id: 0, key: 1, time: 1 },
        disorderMs: 0,
        latenessMs: dayMs,
        aheadMs: 300_000,
        rekey: false,
        entersAt: 0,
      },
      {
        name: 'chargebacks',
        index: 1,
        topic: 'chargebacks',
        idField: 'txId',
        keyField: 'customerId',
        timeField: 'reportedAt',
        fields: ['txId', 'customerId', 'terminalId', 'txAt', 'reportedAt'],
        columns: { id: 0, key: 1, time: 1 },
        disorderMs: 0,
        latenessMs: dayMs,
        aheadMs: 300_000,
        rekey: false,
        entersAt: 0,
      },
    ])
  })

  test('has a stage for the customer, which keeps amounts as integers of cents', () => {
    const { index, entity, rawStreams, repartitionIn } = plan.stages[0]!
    expect({ index, rawStreams, repartitionIn }).toEqual({ index: 0, rawStreams: [0, 1], repartitionIn: null })
    expect(entity.name).toBe('customer')
    expect([...entity.keyFields]).toEqual([
      [0, 'customerId'],
      [1, 'customerId'],
    ])
    expect(entity.layout).toEqual({
      width: 5,
      knownColumn: null,
      sources: [{ stream: 0, atField: 'at', values: [{ field: 'amount', column: 4, decimals: 2 }] }],
    })
    expect(entity.retentionMs).toBe(31 * dayMs)
    expect(entity.slots.map((slot) => slot.index)).toEqual([0, 1, 2, 3, 4, 5])
  })

  test('has a stage for the terminal, which dates chargebacks by their transaction', () => {
    const { index, entity, rawStreams, repartitionOut } = plan.stages[1]!
    expect({ index, rawStreams, repartitionOut }).toEqual({ index: 1, rawStreams: [], repartitionOut: null })
    expect(entity.name).toBe('terminal')
    expect([...entity.keyFields]).toEqual([
      [0, 'terminalId'],
      [1, 'terminalId'],
    ])
    expect(entity.layout).toEqual({
      width: 5,
      knownColumn: 4,
      sources: [
        { stream: 0, atField: 'at', values: [] },
        { stream: 1, atField: 'txAt', values: [] },
      ],
    })
    expect(entity.retentionMs).toBe(38 * dayMs)
    expect(plan.stages).toHaveLength(2)
  })

  test('repartitions once, with both streams and the slots of the customer', () => {
    const { repartitionOut } = plan.stages[0]!
    expect(plan.stages[1]!.repartitionIn).toBe(repartitionOut)
    expect(repartitionOut!.topic).toBe('card-fraud.terminal')
    expect(repartitionOut!.streams).toEqual([0, 1])
    expect(repartitionOut!.slots).toEqual(plan.stages[0]!.entity.slots)
    expect([...repartitionOut!.codec.schemas.keys()]).toEqual([
      'terminal_transactions',
      'terminal_chargebacks',
      'terminal_mark',
    ])
  })

  test('has its slots by stage, each once though seen and risk write it twice', () => {
    expect(plan.slots.map(({ index, name, stage, kind }) => `${index} ${stage} ${kind} ${name}`)).toEqual([
      '0 0 count customer_count_transactions_1d',
      '1 0 mean customer_mean_transactions_amount_1d',
      '2 0 count customer_count_transactions_7d',
      '3 0 mean customer_mean_transactions_amount_7d',
      '4 0 count customer_count_transactions_30d',
      '5 0 mean customer_mean_transactions_amount_30d',
      '6 1 count terminal_count_transactions_1d_lag_7d',
      '7 1 count terminal_count_chargebacks_1d_lag_7d',
      '8 1 count terminal_count_transactions_7d_lag_7d',
      '9 1 count terminal_count_chargebacks_7d_lag_7d',
      '10 1 count terminal_count_transactions_30d_lag_7d',
      '11 1 count terminal_count_chargebacks_30d_lag_7d',
    ])
    expect(plan.slots[3]).toEqual({
      index: 3,
      name: 'customer_mean_transactions_amount_7d',
      stage: 0,
      kind: 'mean',
      stream: 0,
      column: 4,
      decimals: 2,
      overMs: 7 * dayMs,
      lagMs: 0,
    })
    expect(plan.slots[9]).toMatchObject({
      stream: 1,
      column: null,
      decimals: null,
      overMs: 7 * dayMs,
      lagMs: 7 * dayMs,
    })
  })

  test('has its vector in order, each feature with the entity that alone gives it', () => {
    expect(plan.features.map(({ name, entity }) => `${name} ${entity}`)).toEqual([
      'amount null',
      'weekend null',
      'night null',
      'customerCount1d customer',
      'customerMean1d customer',
      'customerCount7d customer',
      'customerMean7d customer',
      'customerCount30d customer',
      'customerMean30d customer',
      'terminalCount1d terminal',
      'terminalRisk1d terminal',
      'terminalCount7d terminal',
      'terminalRisk7d terminal',
      'terminalCount30d terminal',
      'terminalRisk30d terminal',
    ])
  })

  test('computes the vector from event and slots', () => {
    const event = { txId: 't', customerId: 'c', terminalId: 'm', amount: 12.5, at: Date.parse('2018-04-07T06:59:59Z') }
    const slots = [1, 12.5, 2, 10, 3, 11, 0, 0, 4, 1, Number.NaN, 2]
    expect(plan.features.map(({ compute }) => compute(event, slots))).toEqual([
      ...[12.5, 1, 1],
      ...[1, 12.5, 2, 10, 3, 11],
      ...[0, 0, 4, 0.25, Number.NaN, Number.NaN],
    ])
    const monday = { ...event, at: Date.parse('2018-04-09T07:00:00Z') }
    expect(plan.features.slice(0, 3).map(({ compute }) => compute(monday, slots))).toEqual([12.5, 0, 0])
  })

  test('names all topics, with the shortest retention that keeps the guarantees', () => {
    expect(plan.topics).toEqual([
      { topic: 'transactions', role: 'raw', partitions: null, retentionMs: 38 * dayMs },
      { topic: 'chargebacks', role: 'raw', partitions: null, retentionMs: 38 * dayMs },
      { topic: 'card-fraud.terminal', role: 'repartition', partitions: null, retentionMs: 38 * dayMs },
      { topic: 'card-fraud.predictions', role: 'predictions', partitions: null, retentionMs: 90 * dayMs },
      { topic: 'card-fraud.rejected', role: 'rejected', partitions: null, retentionMs: 90 * dayMs },
      { topic: 'card-fraud.models', role: 'models', partitions: 1, retentionMs: null },
      { topic: 'card-fraud.schemas', role: 'schemas', partitions: 1, retentionMs: null },
      { topic: 'transactions.schemas', role: 'raw schemas', partitions: 1, retentionMs: null },
      { topic: 'chargebacks.schemas', role: 'raw schemas', partitions: 1, retentionMs: null },
    ])
    expect(plan.predictions.topic).toBe('card-fraud.predictions')
    expect(plan.rejected.topic).toBe('card-fraud.rejected')
    expect(plan.models.topic).toBe('card-fraud.models')
  })

  test('knows label and model', () => {
    expect(plan.label).toEqual({ stream: 1, value: 1, otherwise: { value: 0, afterMs: 7 * dayMs } })
    expect(plan.model).toMatchObject({ kind: 'mlp', hidden: [64, 32] })
    expect(plan.learn).toEqual({
      continuous: { publishEveryMs: dayMs },
      retrain: { everyMs: 7 * dayMs, rows: null, overMs: 28 * dayMs },
      promoteIf: { metric: 'averagePrecision' },
    })
    expect([plan.name, plan.version]).toEqual(['card-fraud', 1])
  })

  test('puts a namespace before every topic and nothing else', () => {
    const named = compile(cardFraud, { namespace: 'run-1' })
    expect(named.topics).toEqual(plan.topics.map((topic) => ({ ...topic, topic: `run-1.${topic.topic}` })))
    expect(named.streams.map(({ topic }) => topic)).toEqual(['run-1.transactions', 'run-1.chargebacks'])
    expect(named.stages[0]!.repartitionOut!.topic).toBe('run-1.card-fraud.terminal')
    expect([named.predictions.topic, named.rejected.topic, named.models.topic]).toEqual([
      'run-1.card-fraud.predictions',
      'run-1.card-fraud.rejected',
      'run-1.card-fraud.models',
    ])
    expect(named.fingerprint).toBe(plan.fingerprint)
    expect(named.stateFingerprint).toBe(plan.stateFingerprint)
    expect(compile(cardFraud, { namespace: '' }).topics).toEqual(plan.topics)
  })
})
