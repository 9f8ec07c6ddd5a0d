/**
 * The text of a function in, its numbers and texts in order out: a limit moved from 220 to 230 shows here, while layout, comments and the
 * spelling of a literal (`1_000`, `1e3`, `'\xe9'`) do not, since every compiler prints them its own way. Called by `feature-identity.ts`.
 */

const token =
  /\/\/[^\n]*|\/\*[\s\S]*?\*\/|(["'`])((?:\\[\s\S]|(?!\1)[\s\S])*)\1|(?<![\w$.])(0[xXbBoO][\da-fA-F_]+n?|(?:\d[\d_]*\.?[\d_]*|\.\d[\d_]*)(?:[eE][+-]?\d+)?n?)|void\s+0(?![\w.])|[\w$]+|\S/g

export function literalsIn(text: string): Array<number | string> {
  const literals: Array<number | string> = []
  /** Of each open bracket, whether it follows `__name`, by which esbuild adds the names of inner functions: `__name(() => 1, "f")`. */
  const areNames: boolean[] = []
  let isText = false
  /** After a text and `+`: esbuild makes one text of two. */
  let isAdding = false
  let last = ''
  for (const [all, quote, body, number] of text.matchAll(token)) {
    if (all.startsWith('//') || all.startsWith('/*')) continue
    const wasText = isText
    isText = quote !== undefined
    if (isText) {
      const parts = quote === '`' ? partsOf(body!) : [unescaped(body!)]
      if (isAdding) parts[0] = `${literals.pop()}${parts[0]}`
      literals.push(...parts)
    } else if (number !== undefined) literals.push(Number(number.replaceAll('_', '').replace(/n$/, '')))
    else if (all === '(') areNames.push(last === '__name')
    else if (all === ')' && areNames.pop()) literals.pop()
    isAdding = wasText && all === '+'
    last = all
  }
  return literals
}

/** Texts and expressions of a template in turn; a text is first and last. */
function partsOf(template: string): Array<number | string> {
  return template.split(/\$\{([^{}]*)\}/).flatMap((part, i) => (i % 2 === 0 ? [unescaped(part)] : literalsIn(part)))
}

const escaped = /\\(?:u\{([\da-fA-F]+)\}|u([\da-fA-F]{4})|x([\da-fA-F]{2})|(\r?\n)|([\s\S]))/g
const named: Readonly<Record<string, string>> = { n: '\n', t: '\t', r: '\r', b: '\b', f: '\f', v: '\v', 0: '\0' }

function unescaped(body: string): string {
  return body.replaceAll(escaped, (_, braced, four, two, newLine, one) => {
    const code = braced ?? four ?? two
    if (code !== undefined) return String.fromCodePoint(Number.parseInt(code, 16))
    return newLine === undefined ? (named[one] ?? one) : ''
  })
}
