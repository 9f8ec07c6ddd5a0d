/**
 * Limits the events and bytes that are in progress at the same time. Each request of the HTTP intake enters and leaves it, so that a slow
 * Kafka cannot fill the memory.
 */
export interface Load {
  readonly events: number
  readonly bytes: number
}

export interface Backlog {
  /** Returns a function that releases the load, once; null where the limit would be exceeded. */
  enter(load: Load): (() => void) | null
  readonly now: Load
}

export function createBacklog(max: Load): Backlog {
  let events = 0
  let bytes = 0
  return {
    enter(load) {
      if (events + load.events > max.events || bytes + load.bytes > max.bytes) return null
      events += load.events
      bytes += load.bytes
      let isHeld = true
      return () => {
        if (!isHeld) return
        isHeld = false
        events -= load.events
        bytes -= load.bytes
      }
    },
    get now() {
      return { events, bytes }
    },
  }
}
