/**
 * When each event is due: a pace and the events' numbers and times in, times since the start out. Pure; `produce` sleeps by it. The
 * schedule is fixed by its first event and never shifted by a slow broker (open loop).
 */
import assert from 'node:assert/strict'

export type Pace =
  | { readonly kind: 'flat out' }
  /** Events a second. */
  | { readonly kind: 'rate'; readonly eventsPerSecond: number }
  /** Event seconds a second. */
  | { readonly kind: 'event time'; readonly speed: number }

/**
 * Ms after the start at which the event with this number (from 0) and event time (ms since 1970) is due; −∞: immediately. Called once for
 * each event, in the order in which they are sent. An event with a time before that of the first is due immediately.
 */
export type Schedule = (number: number, timeMs: number) => number

export function createSchedule(pace: Pace): Schedule {
  switch (pace.kind) {
    case 'flat out':
      return () => Number.NEGATIVE_INFINITY
    case 'rate': {
      const { eventsPerSecond } = pace
      assert(eventsPerSecond > 0 && Number.isFinite(eventsPerSecond), `a rate of ${eventsPerSecond} events a second`)
      return (number) => (number * 1_000) / eventsPerSecond
    }
    case 'event time': {
      const { speed } = pace
      assert(speed > 0 && Number.isFinite(speed), `a speed of ${speed} event seconds a second`)
      let firstMs: number | null = null
      return (_, timeMs) => {
        firstMs ??= timeMs
        return (timeMs - firstMs) / speed
      }
    }
  }
}
