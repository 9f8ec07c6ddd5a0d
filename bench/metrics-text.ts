/** A page in the Prometheus text format in, the sum of a metric over its labels out; 0 for one that is not there. Pure. */
export function parseMetrics(text: string): (name: string) => number {
  const lines = text.split('\n')
  return (name) =>
    lines
      .filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
}
