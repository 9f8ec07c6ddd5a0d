/** Checks of parsed JSON that note every mistake and continue. Called by what reads a model file. */

export interface Checks {
  /** Each answers with an empty value where it finds something else, so that all mistakes are found at once. */
  text(value: unknown, path: string): string
  number(value: unknown, path: string): number
  numbers(value: unknown, path: string): number[]
  list(value: unknown, path: string): unknown[]
  object(value: unknown, path: string): Record<string, unknown>
  /** Any other mistake. */
  note(path: string, expected: string, received: string): void
}

export function checksInto(problems: string[]): Checks {
  const note = (path: string, expected: string, received: string): void => {
    problems.push(`${path}: expected ${expected}, received ${received}`)
  }
  const checks: Checks = {
    text(value, path) {
      if (typeof value === 'string' && value !== '') return value
      note(path, 'text', show(value))
      return ''
    },
    number(value, path) {
      if (typeof value === 'number' && Number.isFinite(value)) return value
      note(path, 'a finite number', show(value))
      return 1
    },
    numbers: (value, path) => checks.list(value, path).map((entry, i) => checks.number(entry, `${path}[${i}]`)),
    list(value, path) {
      if (Array.isArray(value)) return value
      note(path, 'a list', show(value))
      return []
    },
    object(value, path) {
      if (isObject(value)) return value
      note(path, 'an object', show(value))
      return {}
    },
    note,
  }
  return checks
}

export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

export function show(value: unknown): string {
  return value === undefined ? 'nothing' : (JSON.stringify(value).slice(0, 60) ?? 'nothing')
}
