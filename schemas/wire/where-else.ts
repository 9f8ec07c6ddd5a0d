/**
 * An event that lacks a field in, where the field probably lies instead out: in the envelope of a connector, or under a name that is spelt
 * otherwise. Called by the codec of events for its messages.
 */
import { isRecord } from '../kernel/report.ts'

/** Names that a message can show: of others it is not worth a guess. */
const showable = /^[\w.$-]{1,32}$/
/** Debezium's events lie two deep, in `payload` and `after`. */
const depthMax = 2
const membersMax = 100

/** The path, such as `/payload/orderId`; null where nothing is like it. */
export function whereElse(values: Readonly<Record<string, unknown>>, name: string): string | null {
  return alikeIn(values, name) ?? within(values, name, '', depthMax)
}

function alikeIn(values: Readonly<Record<string, unknown>>, name: string): string | null {
  const found = shownMembers(values).find((member) => letters(member) === letters(name))
  return found === undefined ? null : `/${found}`
}

function within(values: Readonly<Record<string, unknown>>, name: string, path: string, depth: number): string | null {
  if (path !== '' && Object.hasOwn(values, name)) return `${path}/${name}`
  if (depth === 0) return null
  for (const member of shownMembers(values)) {
    const value = values[member]
    const found = isRecord(value) ? within(value, name, `${path}/${member}`, depth - 1) : null
    if (found !== null) return found
  }
  return null
}

function shownMembers(values: object): readonly string[] {
  return Object.keys(values)
    .slice(0, membersMax)
    .filter((name) => showable.test(name))
}

/** `user_id`, `UserID` and `userId` are alike. */
function letters(name: string): string {
  return name.toLowerCase().replaceAll(/[^a-z0-9]/g, '')
}
