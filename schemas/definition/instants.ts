/**
 * The range in which a definition's instants lie: a day or an instant as text in, milliseconds out. Called by the checks and by `compile`.
 */
import { instantMax, instantMin } from '../kernel/instant.ts'
import { parseInstant } from '../wire/event-codec.ts'

/**
 * What timestamps hold unless a definition says otherwise: until 2200 excludes micro- and nanoseconds since 1970, from 1973 excludes
 * seconds and days.
 */
export const instantsDefault = { from: '1973-01-01', until: '2200-01-01' } as const
export const instantExpected = 'a day or an RFC 3339 instant with zone from the year 1 to 9999, such as 1973-01-01'

/** As `parseInstant`, or a day, which begins in UTC; null also beyond the years that have four digits. */
export function parseLimit(text: unknown): number | null {
  if (typeof text !== 'string') return null
  const ms = parseInstant(/^\d{4}-\d{2}-\d{2}$/.test(text) ? `${text}T00:00:00Z` : text)
  return ms !== null && ms >= instantMin && ms <= instantMax ? ms : null
}
