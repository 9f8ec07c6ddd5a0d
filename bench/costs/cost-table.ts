/** Measured lines in, the Markdown table out. Pure; called by `costs.ts`. */

import { spread } from '../statistics.ts'
import { spreadText } from '../table.ts'
import type { LinePoint, MeasuredLine } from './cost-line.ts'

const columns = [
  'varied',
  'size',
  'features',
  'entities',
  'facts an entity',
  'partitions',
  'µs an event',
  'steps of the calibration',
  'resident MB',
  'load before',
]

export function costTable(lines: readonly MeasuredLine[]): string[] {
  const rows = lines.flatMap(({ name, points }) => points.map((point) => row(name, point)))
  const rule = columns.map((_, i) => (i === 0 ? '---' : '---:'))
  return [columns, rule, ...rows].map((cells) => `| ${cells.join(' | ')} |`)
}

function row(name: string, { size, point, figures, cost, steps, loadBefore }: LinePoint): string[] {
  return [
    name,
    figures.isFull ? shown(size) : `${shown(size)}, filled with ${shown(figures.filled)} events only`,
    shown(point.features),
    shown(point.entities),
    shown(point.facts),
    shown(point.partitions),
    spreadText(cost),
    spreadText(steps),
    shown(Math.round(figures.residentMb)),
    spreadText(spread([loadBefore])),
  ]
}

function shown(value: number): string {
  return value.toLocaleString('en-US')
}
