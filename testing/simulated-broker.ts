/** The broker as one simulated process sees it: every method is a call that travels (`simulated-calls.ts`). */
import type { Broker, Fetcher, Producer, Worker } from '../runtime/broker.ts'
import type { MemoryWorker } from '../runtime/memory/broker.ts'
import { call, type ProcessState } from './simulated-calls.ts'

export function simulatedBroker(state: ProcessState): Broker {
  const { broker } = state
  return {
    data: {
      partitionCounts: (topics) => call(state, 'other', () => broker.data.partitionCounts(topics)),
      bounds: (partitions) => call(state, 'other', () => broker.data.bounds(partitions)),
      offsetsAt: (partitions, timeMs) => call(state, 'other', () => broker.data.offsetsAt(partitions, timeMs)),
      async fetcher() {
        const opened = await call(state, 'other', () => broker.data.fetcher())
        const fetcher: Fetcher = {
          fetch: (from, limits) => call(state, 'fetch', () => opened.fetch(from, limits)),
          close: () => opened.close(),
        }
        return fetcher
      },
      async producer() {
        const opened = await call(state, 'other', () => broker.data.producer())
        const producer: Producer = {
          send: (records) => call(state, 'other', () => opened.send(records)),
          close: () => opened.close(),
        }
        return producer
      },
    },
    groups: {
      worker: (options) =>
        call(state, 'other', async () => simulatedWorker(state, await broker.groups.worker(options))),
      describe: (group) => call(state, 'other', () => broker.groups.describe(group)),
      removeWorker: (group, worker) => call(state, 'other', () => broker.groups.removeWorker(group, worker)),
      committedOffsets: (group, partitions) =>
        call(state, 'other', () => broker.groups.committedOffsets(group, partitions)),
    },
    admin: {
      clusterId: () => call(state, 'other', () => broker.admin.clusterId()),
      ensureTopics: (specs) => call(state, 'other', () => broker.admin.ensureTopics(specs)),
      requireRights: (needed) => call(state, 'other', () => broker.admin.requireRights(needed)),
      alterTopicSettings: (changes) => call(state, 'other', () => broker.admin.alterTopicSettings(changes)),
      addPartitions: (topics) => call(state, 'other', () => broker.admin.addPartitions(topics)),
      topicSettings: (topics, names) => call(state, 'other', () => broker.admin.topicSettings(topics, names)),
    },
    // The broker is shared: it continues when one process ends.
    close: async () => undefined,
  }
}

function simulatedWorker(state: ProcessState, opened: MemoryWorker): Worker {
  state.workers.set(opened.owner, opened)
  if (state.status === 'dead') opened.crash()
  return {
    owner: opened.owner,
    isCurrent: (membership) => opened.isCurrent(membership),
    join: () => call(state, 'join', opened.join),
    committed: (partitions) => call(state, 'other', () => opened.committed(partitions)),
    transact(records, offsets, membership) {
      const outcome = state.outcomeOf('transact')
      const transact = () => {
        state.transaction = { offsets, outcome }
        return opened.transact(records, offsets, membership)
      }
      return call(state, 'transact', transact, undefined, outcome)
    },
    publish: (records) => call(state, 'other', () => opened.publish(records)),
    commitOffsets: (offsets, membership) => call(state, 'other', () => opened.commitOffsets(offsets, membership)),
    leave: () => call(state, 'other', () => opened.leave()),
    close: () => opened.close(),
  }
}
