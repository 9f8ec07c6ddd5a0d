/** What stored state belongs to and should belong to in, the difference in words out. Called for `state_foreign`, `doctor` and `plan`. */
import { stateChange } from '../schemas/plan/state-change.ts'
import type { StateIdentity } from './store.ts'
import { storedLayout } from './stored-log.ts'

/** To follow "since"; null where there is none. */
export function stateDifference(found: StateIdentity, expected: StateIdentity): string | null {
  if (found.clusterId !== expected.clusterId)
    return `it belongs to Kafka cluster ${found.clusterId}, and this one is ${expected.clusterId}`
  if (found.layout !== undefined)
    return `it is stored in layout ${found.layout}, and this version stores ${storedLayout}`
  if (found.partitions !== expected.partitions)
    return `it was made with ${found.partitions} partitions, and the topics have ${expected.partitions}`
  if (found.stateFingerprint === expected.stateFingerprint) {
    // Who only looks may not know the key.
    if (expected.hashKey === undefined || found.hashKey === expected.hashKey) return null
    return `the ids of its facts are hashed with the key ${found.hashKey ?? 'none'}, and the topic of schemas has the key ${expected.hashKey}`
  }
  const change = found.shape && expected.shape ? stateChange(found.shape, expected.shape) : ''
  // State of versions that stored no shape.
  return change === ''
    ? 'its streams, keys, the columns or the layout of its facts, or their retention are others'
    : change
}
