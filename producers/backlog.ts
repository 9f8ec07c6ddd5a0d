/**
 * How much may wait at once: whoever brings something asks for room and gives it back when it is done. Requests of the HTTP intake call
 * it, so that a slow Kafka fills no memory.
 */
export interface Load {
  readonly events: number
  readonly bytes: number
}

export interface Backlog {
  /** Gives the room back, once; null where there is none. */
  enter(load: Load): (() => void) | null
  readonly now: Load
}

export function createBacklog(most: Load): Backlog {
  let events = 0
  let bytes = 0
  return {
    enter(load) {
      if (events + load.events > most.events || bytes + load.bytes > most.bytes) return null
      events += load.events
      bytes += load.bytes
      let isIn = true
      return () => {
        if (!isIn) return
        isIn = false
        events -= load.events
        bytes -= load.bytes
      }
    },
    get now() {
      return { events, bytes }
    },
  }
}
