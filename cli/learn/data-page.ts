/** The profile of a training set as one HTML page that needs nothing else: charts are inline SVG. Pure; called by `millrace data`. */
import type { DataProfile, DayProfile, FeatureProfile } from '../../online-model/training-store/profile.ts'
import { shown, shownTime } from '../terminal.ts'
import { missingShare, percent, short } from './data-format.ts'

const style = `
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #1b2733; background: #fff }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; width: 100% } th, td { padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #dde3e9 }
th:first-child, td:first-child { text-align: left } dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem }
dt { color: #5a6a79 } dd { margin: 0 } svg { display: block } .key { color: #5a6a79 }
.neg { fill: #9fb4c8 } .pos { fill: #d1495b; fill-opacity: .75 } .rate { fill: none; stroke: #d1495b; stroke-width: 1.5 }
@media (prefers-color-scheme: dark) { body { color: #dfe6ec; background: #141a20 } th, td { border-color: #2b353f } .neg { fill: #4c6072 } }
`

export function dataPage(pipeline: string, source: string, profile: DataProfile): string {
  const title = `Training set of ${pipeline}`
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escaped(title)}</title>
<style>${style}</style>
</head>
<body>
<h1>${escaped(title)}</h1>
${facts(source, profile)}
<h2>Events and label rate by day</h2>
${dayChart(profile.days)}
<p class="key">Bars: mature rows a day. Line: share of events with label 1, up to ${percent(highestRate(profile.days))}.</p>
<h2>Features</h2>
<p class="key">Histograms from the 1st to the 99th hundredth, each class by itself: grey label 0, red label 1.</p>
<table>
<thead><tr>${['feature', 'missing', 'min', 'median', 'mean', 'max', 'mean of 1', 'mean of 0', 'distribution'].map((name) => `<th scope="col">${name}</th>`).join('')}</tr></thead>
<tbody>
${profile.features.map(featureRow).join('\n')}
</tbody>
</table>
</body>
</html>
`
}

function facts(
  source: string,
  { rows, positives, rate, fromMs, untilMs, waiting, labels, labelsWithoutRow, status }: DataProfile,
): string {
  const { counts } = status
  const outcomes = [
    `${shown(labels.named)} in time`,
    `${shown(labels.late)} later`,
    `${shown(labels.corrected)} changed their row`,
    `${shown(labels.withdrawn)} withdrawn`,
    `${shown(labelsWithoutRow)} without a row`,
  ]
  const leftOut = [
    `${shown(counts.duplicatePredictions)} predicted again`,
    `${shown(counts.foreign)} of another definition`,
    `${shown(counts.rejectedLabels + counts.rejectedValues + counts.labelsAhead)} labels rejected`,
    `${shown(counts.expired)} too old`,
    `${shown(counts.sampledOut)} sampled out`,
  ]
  const lines: ReadonlyArray<readonly [string, string]> = [
    ['From', source],
    ['Rows', `${shown(rows)} mature, ${shown(positives)} positive (${percent(rate)} of events)`],
    ['Events', `${shownTime(fromMs)} to ${shownTime(untilMs)}`],
    ['Of earlier definitions', `${shown(counts.earlier)}, without the features that have changed`],
    ['Waiting for their label', `${shown(waiting)}; both streams have passed ${shownTime(status.watermarkMs)}`],
    ['Labels', outcomes.join(', ')],
    ['Left out', leftOut.join(', ')],
  ]
  return `<dl>${lines.map(([what, value]) => `<dt>${what}</dt><dd>${escaped(value)}</dd>`).join('')}</dl>`
}

const highestRate = (days: readonly DayProfile[]) => days.reduce((most, { rate }) => Math.max(most, rate), 0)

const chart = { width: 1_000, height: 160 }

function dayChart(days: readonly DayProfile[]): string {
  const most = Math.max(1, ...days.map(({ rows }) => rows))
  const top = highestRate(days) || 1
  const step = chart.width / Math.max(1, days.length)
  const bars = days.map(({ day, rows, positives, rate }, i) => {
    const words = `${day}: ${shown(rows)} rows, ${shown(positives)} positive (${percent(rate)})`
    return bar('neg', i * step, step * 0.85, rows / most, chart.height, `<title>${escaped(words)}</title>`)
  })
  const points = days.map(({ rate }, i) => `${px((i + 0.425) * step)},${px(chart.height * (1 - rate / top))}`)
  const head = `<svg role="img" aria-label="Rows and label rate by day" viewBox="0 0 ${chart.width} ${chart.height}" width="100%">`
  return `${head}${bars.join('')}<polyline class="rate" points="${points.join(' ')}"/></svg>`
}

/** `share` of the height, from the bottom. */
function bar(style: string, x: number, width: number, share: number, height: number, inner = ''): string {
  const size = `width="${px(width)}" height="${px(share * height)}"`
  return `<rect class="${style}" x="${px(x)}" y="${px((1 - share) * height)}" ${size}>${inner}</rect>`
}

function featureRow(feature: FeatureProfile): string {
  const { name, all, positives, negatives } = feature
  const cells = [
    percent(missingShare(all)),
    ...[all.min, all.quantiles?.[2] ?? null, all.mean, all.max, positives.mean, negatives.mean].map(short),
  ]
  return `<tr><td>${escaped(name)}</td>${cells.map((cell) => `<td>${cell}</td>`).join('')}<td>${histogramOf(feature)}</td></tr>`
}

const small = { width: 190, height: 44 }

function histogramOf({ name, histogram }: FeatureProfile): string {
  if (histogram === null) return 'no value'
  const bars = (counts: readonly number[], style: string) => {
    const most = Math.max(1, ...counts)
    const step = small.width / counts.length
    return counts.map((count, i) => bar(style, i * step, step - 1, count / most, small.height))
  }
  const words = escaped(`${name} from ${short(histogram.from)} to ${short(histogram.to)}`)
  return `<svg role="img" aria-label="${words}" width="${small.width}" height="${small.height}"><title>${words}</title>${[
    ...bars(histogram.negatives, 'neg'),
    ...bars(histogram.positives, 'pos'),
  ].join('')}</svg>`
}

const px = (value: number) => value.toFixed(1)

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;')
}
