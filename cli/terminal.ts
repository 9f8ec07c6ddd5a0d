/** Where commands print: lines for people and for other programs go to `out`, progress and failures to `err`. Tests hand in their own. */
export interface Terminal {
  out(line: string): void
  err(line: string): void
}

/** Whole numbers with separators, others with one decimal: for people, never for programs. */
export function shown(value: number): string {
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : 1
  return value.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits })
}

export function shownTime(timeMs: number | null): string {
  return timeMs === null || !Number.isFinite(timeMs) ? 'none' : new Date(timeMs).toISOString()
}

/** Columns wide enough for their longest cell, two blanks apart; the first row is the head. */
export function tableLines(rows: ReadonlyArray<readonly string[]>): string[] {
  const widths: number[] = []
  for (const row of rows)
    row.forEach((cell, i) => {
      widths[i] = Math.max(widths[i] ?? 0, cell.length)
    })
  return rows.map((row) =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd(),
  )
}
