/** Measured lines in, a picture out: sizes and costs, both logarithmic, as an SVG of its own. Pure; called by `costs.ts`. */
import type { MeasuredLine } from './cost-line.ts'

/** What is drawn of a line. */
export type DrawnLine = Pick<MeasuredLine, 'name'> & {
  readonly points: ReadonlyArray<Pick<MeasuredLine['points'][number], 'size' | 'cost'>>
}

const [width, height] = [860, 460]
/** Where the axes are. */
const frame = { left: 64, right: 660, top: 44, bottom: 410 }
const colours = ['#0969da', '#1a7f37', '#9a6700', '#cf222e', '#8250df']
/** Names of lines that end at one height are written below each other. */
const nameStep = 18
const style =
  'text{fill:#57606a}.head{font-weight:600}.axis{stroke:#57606a;stroke-width:1.5}.grid{stroke:#d0d7de}.line{fill:none;stroke-width:2}'

export function costPicture(lines: readonly DrawnLine[]): string {
  const points = lines.flatMap((line) => line.points)
  const sizes = decades(points.map(({ size }) => size))
  const costs = decades(points.flatMap(({ cost }) => [cost.min, cost.max]))
  const x = (size: number) => shifted(size, sizes, frame.left, frame.right)
  const y = (cost: number) => shifted(cost, costs, frame.bottom, frame.top)
  const names = namePlaces(lines.map(({ points }) => y(points.at(-1)!.cost.median)))
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" font-family="system-ui, sans-serif" font-size="13" ` +
      'role="img" aria-label="What an event costs by the size of definition, state and cluster">',
    `<style>${style}</style><rect width="${width}" height="${height}" fill="#fff"/>`,
    `<text x="20" y="24" class="head">CPU of an event, µs: median, smallest and greatest of the rounds</text>`,
    ...sizes.map((size) => grid(x(size), x(size), frame.top, frame.bottom)),
    ...sizes.map((size) => `<text x="${x(size)}" y="${frame.bottom + 20}" text-anchor="middle">${shown(size)}</text>`),
    ...costs.map((cost) => grid(frame.left, frame.right, y(cost), y(cost))),
    ...costs.map((cost) => `<text x="${frame.left - 8}" y="${y(cost) + 4}" text-anchor="end">${shown(cost)}</text>`),
    `<path class="axis" fill="none" d="M${frame.left} ${frame.top}V${frame.bottom}H${frame.right}"/>`,
    `<text x="${frame.right}" y="${frame.bottom + 40}" text-anchor="end">features, entities, facts in the window, partitions</text>`,
    ...lines.map((line, i) => drawn(line, colours[i % colours.length]!, names[i]!, x, y)),
    '</svg>\n',
  ].join('\n')
}

function drawn(
  { name, points }: DrawnLine,
  colour: string,
  nameY: number,
  x: (size: number) => number,
  y: (cost: number) => number,
): string {
  const way = points.map(({ size, cost }, i) => `${i === 0 ? 'M' : 'L'}${x(size)} ${y(cost.median)}`).join('')
  const end = points.at(-1)!
  return [
    `<g stroke="${colour}"><path class="line" d="${way}"/>`,
    ...points.map(({ size, cost }) => `<path d="M${x(size)} ${y(cost.min)}V${y(cost.max)}"/>`),
    ...points.map(({ size, cost }) => {
      const title = `${name} ${shown(size)}: ${cost.median} µs`
      return `<circle cx="${x(size)}" cy="${y(cost.median)}" r="4" fill="${colour}"><title>${escaped(title)}</title></circle>`
    }),
    `<path stroke-dasharray="2 3" d="M${x(end.size) + 6} ${y(end.cost.median)}L${frame.right + 8} ${nameY}"/></g>`,
    `<text x="${frame.right + 14}" y="${nameY + 4}" style="fill:${colour}">${escaped(name)}</text>`,
  ].join('\n')
}

/** The powers of ten from the last one below all values to the first one above. */
function decades(values: readonly number[]): number[] {
  const first = Math.floor(Math.log10(Math.min(...values)))
  const last = Math.max(first + 1, Math.ceil(Math.log10(Math.max(...values))))
  return Array.from({ length: last - first + 1 }, (_, i) => 10 ** (first + i))
}

/** From the first to the last of these powers of ten lies from one place to the other. */
function shifted(value: number, powers: readonly number[], from: number, to: number): number {
  const [first, last] = [Math.log10(powers[0]!), Math.log10(powers.at(-1)!)]
  return Math.round((from + ((to - from) * (Math.log10(value) - first)) / (last - first)) * 10) / 10
}

/** In the order of the heights wanted, none on another. */
function namePlaces(wanted: readonly number[]): number[] {
  const places = [...wanted]
  const order = wanted.map((_, i) => i).sort((a, b) => wanted[a]! - wanted[b]!)
  order.forEach((line, i) => {
    if (i > 0) places[line] = Math.max(wanted[line]!, places[order[i - 1]!]! + nameStep)
  })
  return places
}

function grid(x1: number, x2: number, y1: number, y2: number): string {
  return `<line class="grid" x1="${x1}" x2="${x2}" y1="${y1}" y2="${y2}"/>`
}

function shown(value: number): string {
  return value.toLocaleString('en-US')
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
