/**
 * The text of a function in, its numbers and texts in order out: a limit moved from 220 to 230 shows here, while layout, comments and the
 * spelling of a number (`1_000`, `1e3`) do not, since every compiler prints them its own way. Called by `feature-identity.ts`.
 */

const token =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|(["'`])((?:\\[\s\S]|(?!\1)[\s\S])*)\1|(?<![\w$.])(0[xXbBoO][\da-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?n?)|[A-Za-z_$][\w$]*/g

/** esbuild adds the names of inner functions: `__name(() => 1, "f")`. */
const addedName = /,\s*"[\w$]+"\s*\)/g

export function literalsIn(text: string): Array<number | string> {
  const source = text.includes('__name(') ? text.replaceAll(addedName, ')') : text
  const literals: Array<number | string> = []
  for (const [, quote, body, number] of source.matchAll(token)) {
    if (quote !== undefined) literals.push(unescaped(body!))
    else if (number !== undefined) literals.push(Number(number.replaceAll('_', '').replace(/n$/, '')))
  }
  return literals
}

/** Quotes are escaped or not by the quotes around them. */
function unescaped(body: string): string {
  return body.replaceAll(/\\(["'`\\])/g, '$1')
}
