/** The feature store as one simulated process sees it: every method is a call on the process's one connection (`simulated-calls.ts`). */
import type { FeatureStore, TaskStore } from '../feature-store/store.ts'
import { callStore, type ProcessState } from './simulated-calls.ts'

export function simulatedStore(state: ProcessState): FeatureStore {
  const { store } = state
  return {
    claim: (entity, partition, owner, identity, options) =>
      callStore(state, 'claim', async () =>
        simulatedTaskStore(state, await store.claim(entity, partition, owner, identity, options), entity, partition),
      ),
    read: (entity, partition, keys) => callStore(state, 'load', () => store.read(entity, partition, keys)),
    inspect: (entity, partition) => callStore(state, 'load', () => store.inspect(entity, partition)),
    ping: () => callStore(state, 'load', () => store.ping()),
    close: async () => undefined,
  }
}

function simulatedTaskStore(state: ProcessState, opened: TaskStore, entity: string, partition: number): TaskStore {
  return {
    get position() {
      return opened.position
    },
    load: (keys) => callStore(state, 'load', () => opened.load(keys)),
    apply: (step) =>
      callStore(state, 'apply', async () => {
        await opened.apply(step)
        state.observer.applied?.(entity, partition, step)
      }),
  }
}
