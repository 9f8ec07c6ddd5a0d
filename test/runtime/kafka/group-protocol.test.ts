import { describe, expect, test } from 'vitest'
import { createByteReader } from '../../../runtime/kafka/byte-reader.ts'
import {
  assignAll,
  decodeAssignment,
  decodeSubscription,
  encodeAssignment,
  encodeSubscription,
} from '../../../runtime/kafka/group-protocol.ts'

const stages = [
  { stage: 'a', topics: ['raw', 'labels'], partitions: 2 },
  { stage: 'b', topics: ['hop'], partitions: 2 },
]
const nothing = { previous: [], generation: -1, round: 0 }

describe('what members exchange', () => {
  test('comes through, in an envelope that any Kafka tool can open', () => {
    const bytes = encodeSubscription(stages, { previous: [{ stage: 'b', partition: 1 }], generation: 4, round: 2 })
    expect(decodeSubscription(bytes)).toEqual({
      stages: [
        { stage: 'a', partitions: 2 },
        { stage: 'b', partitions: 2 },
      ],
      previous: [{ stage: 'b', partition: 1 }],
      generation: 4,
      round: 2,
    })
    const reader = createByteReader(bytes)
    expect(reader.int16()).toBe(0)
    expect(reader.array(() => reader.text())).toEqual(['hop', 'labels', 'raw'])
  })

  test('names topics and partitions beside the tasks', () => {
    const tasks = [
      { stage: 'a', partition: 1 },
      { stage: 'b', partition: 0 },
    ]
    const assigned = { tasks, stages: stages.map(({ stage, partitions }) => ({ stage, partitions })) }
    const bytes = encodeAssignment(stages, assigned)
    expect(decodeAssignment(bytes)).toEqual(assigned)
    const reader = createByteReader(bytes)
    reader.int16()
    expect(reader.array(() => [reader.text(), reader.array(() => reader.int32())])).toEqual([
      ['raw', [1]],
      ['labels', [1]],
      ['hop', [0]],
    ])
  })

  test('of another protocol is rejected', () => {
    const expected = expect.objectContaining({ code: 'kafka_request_failed' })
    for (const bytes of [Buffer.alloc(0), Buffer.from([0, 0, 0, 0, 0, 0, 0, 0, 0, 3, 1, 2, 3])]) {
      expect(() => decodeSubscription(bytes)).toThrow(expected)
      expect(() => decodeAssignment(bytes)).toThrow(expected)
    }
  })
})

describe('the leader', () => {
  test('assigns by static names, so that a member with a new id keeps its tasks', () => {
    const had = {
      previous: [
        { stage: 'a', partition: 1 },
        { stage: 'b', partition: 0 },
      ],
      generation: 1,
      round: 0,
    }
    const assigned = assignAll(
      [
        { memberId: 'y-2', instanceId: 'y', subscription: encodeSubscription(stages, had) },
        { memberId: 'x-9', instanceId: 'x', subscription: encodeSubscription(stages, nothing) },
      ],
      stages,
    )
    expect(assigned.map(({ memberId, assignment }) => [memberId, decodeAssignment(assignment).tasks])).toEqual([
      ['y-2', had.previous],
      [
        'x-9',
        [
          { stage: 'a', partition: 0 },
          { stage: 'b', partition: 1 },
        ],
      ],
    ])
  })

  test('deals out the stages of all members, also those that it does not know itself', () => {
    const [assigned] = assignAll(
      [{ memberId: 'x-1', instanceId: 'x', subscription: encodeSubscription(stages, nothing) }],
      stages.slice(0, 1),
    )
    const { tasks, stages: all } = decodeAssignment(assigned!.assignment)
    expect(tasks.length).toBe(4)
    expect(all).toEqual([
      { stage: 'a', partitions: 2 },
      { stage: 'b', partitions: 2 },
    ])
  })
})
