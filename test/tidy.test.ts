/** The rules of the house that a program can check: who may import whom, what only the edges may touch, how files look. */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import ts from 'typescript'
import { describe, expect, test } from 'vitest'

const root = fileURLToPath(new URL('..', import.meta.url))

/** Each room with the rooms that it may import from, besides itself. */
const mayImport: Readonly<Record<string, readonly string[]>> = {
  schemas: [],
  pipelines: ['schemas'],
  runtime: ['schemas'],
  'feature-store': ['runtime', 'schemas'],
  producers: ['feature-store', 'runtime', 'schemas'],
  processors: ['feature-store', 'runtime', 'schemas'],
  'online-model': ['feature-store', 'runtime', 'schemas'],
  cli: ['online-model', 'pipelines', 'processors', 'producers', 'feature-store', 'runtime', 'schemas'],
  testing: ['online-model', 'pipelines', 'processors', 'producers', 'feature-store', 'runtime', 'schemas'],
  bench: [
    'testing',
    'cli',
    'online-model',
    'pipelines',
    'processors',
    'producers',
    'feature-store',
    'runtime',
    'schemas',
  ],
}
/** Each may import from those before it. */
const schemasRooms = ['kernel', 'models', 'wire', 'definition', 'plan']
/** The folders of `online-model`, each with those that it may import from, besides itself. */
const modelFoldersMayImport: Readonly<Record<string, readonly string[]>> = {
  models: [],
  labels: [],
  registry: ['models'],
  evaluation: ['models', 'registry'],
  'training-store': ['evaluation', 'labels'],
  trainer: ['evaluation', 'labels', 'models', 'registry', 'training-store'],
  backtest: ['evaluation', 'models'],
}
/** The folders of `processors`, each with those that it may import from, besides itself; the files beside them belong to none. */
const processorFoldersMayImport: Readonly<Record<string, readonly string[]>> = {
  watermarks: [],
  batch: ['watermarks'],
  recovery: ['batch', 'watermarks'],
  audit: [],
  'in-process': ['batch'],
}
/** Files that are started rather than imported. */
const entries = new Set([
  'cli/main.ts',
  'cli/build.ts',
  'cli/learn/fit-worker.ts',
  'vitest.config.ts',
  'pipelines/card-fraud.ts',
  'bench/main.ts',
  'testing/index.ts',
])
const linesMax = 400
/** Ratchets: lower them when the code allows it, never raise them. A function counts the lines of those inside it. */
const functionLinesMax = 84
const functionLinesGoal = 70
const functionsAboveGoalMax = 6
const lineLengthMax = 140

interface SourceFile {
  readonly path: string
  readonly room: string
  readonly text: string
  /** Paths of our own files that it imports. */
  readonly imports: readonly string[]
}

function filesBelow(folder: string): string[] {
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter((entry) => entry.isFile() && entry.name.endsWith('.ts'))
    .map((entry) => relative(root, join(entry.parentPath, entry.name)))
}

function read(path: string): SourceFile {
  const text = readFileSync(join(root, path), 'utf8')
  const found = text.matchAll(/^(?:import|export)\b[^'"]*?from '(\.[^']+)'|import\('(\.[^']+)'\)|^import '(\.[^']+)'/gm)
  const imports = [...found].map((match) => join(dirname(path), (match[1] ?? match[2] ?? match[3])!))
  return { path, room: path.split('/')[0]!, text, imports }
}

const sources = Object.keys(mayImport).flatMap(filesBelow).map(read)
const tests = filesBelow('test').map(read)

describe('imports', () => {
  test('point one way', () => {
    const wrong = sources.flatMap(({ path, room, imports }) =>
      imports
        .filter((target) => {
          const to = target.split('/')[0]!
          return to !== room && !mayImport[room]!.includes(to)
        })
        .map((target) => `${path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  test('point one way between the rooms of schemas', () => {
    const roomOf = (path: string) => schemasRooms.indexOf(path.split('/')[1]!)
    const files = sources.filter(({ room }) => room === 'schemas')
    expect(files.filter(({ path }) => roomOf(path) === -1).map(({ path }) => path)).toEqual([])
    const wrong = files.flatMap(({ path, imports }) =>
      imports.filter((target) => roomOf(target) > roomOf(path)).map((target) => `${path} imports ${target}`),
    )
    expect(wrong).toEqual([])
  })

  test('point one way between the folders of online-model', () => {
    expect(wrongBetweenFolders('online-model', modelFoldersMayImport)).toEqual([])
  })

  test('point one way between the folders of processors', () => {
    expect(wrongBetweenFolders('processors', processorFoldersMayImport)).toEqual([])
  })

  test('make no cycle', () => {
    const byPath = new Map(sources.map((source) => [source.path, source]))
    const cycles: string[] = []
    const done = new Set<string>()
    const visit = (path: string, way: readonly string[]) => {
      if (way.includes(path)) cycles.push([...way.slice(way.indexOf(path)), path].join(' -> '))
      else if (!done.has(path)) {
        // A type costs nothing at run time, but a circle of types is a circle of ideas all the same.
        for (const target of byPath.get(path)?.imports ?? []) visit(target, [...way, path])
        done.add(path)
      }
    }
    for (const { path } of sources) visit(path, [])
    expect(cycles).toEqual([])
  })

  test('reach every file', () => {
    const reached = new Set([...sources, ...tests].flatMap(({ imports }) => imports))
    const read = [...sources, ...tests].flatMap(({ text }) => [...text.matchAll(/[\w-]+\.ts/g)].map(([name]) => name))
    const named = new Set(read)
    const dead = sources
      .map(({ path }) => path)
      .filter((path) => !reached.has(path) && !entries.has(path) && !named.has(path.split('/').at(-1)!))
    expect(dead).toEqual([])
  })

  test('know kafkajs in its room only', () => {
    const wrong = sources.filter(({ path, text }) => /from 'kafkajs/.test(text) && !path.startsWith('runtime/'))
    expect(wrong.map(({ path }) => path)).toEqual([])
  })
})

describe('edges', () => {
  const edges = ['runtime', 'cli', 'bench']
  const inner = sources.filter(({ room }) => !edges.includes(room))

  test.each([
    ['the clock', /\bDate\.now\(|\bnew Date\(\)|\bperformance\.now\(/],
    ['randomness', /\bMath\.random\(|\brandomUUID\(/],
    ['the environment', /\bprocess\.env\b/],
    ['timers', /\bset(?:Timeout|Interval)\(/],
    ['the terminal', /\bconsole\.|\bprocess\.std(?:out|err)\b/],
  ])('only they touch %s', (_, pattern) => {
    expect(inner.filter(({ text }) => pattern.test(withoutComments(text))).map(({ path }) => path)).toEqual([])
  })
})

describe('files', () => {
  test('open with what they are for', () => {
    const silent = sources.filter(({ text }) => !/^(?:#!.*\n)?\/\*\*/.test(text))
    expect(silent.map(({ path }) => path)).toEqual([])
  })

  test(`have at most ${linesMax} lines of at most ${lineLengthMax} characters`, () => {
    const long = [...sources, ...tests].flatMap(({ path, text }) => {
      const lines = text.split('\n')
      const wide = lines.flatMap((line, i) =>
        line.length > lineLengthMax && !line.includes("'") ? [`${path}:${i + 1}`] : [],
      )
      return lines.length > linesMax && !path.startsWith('test/') ? [...wide, `${path}: ${lines.length} lines`] : wide
    })
    expect(long).toEqual([])
  })

  test('leave nothing for later without naming where', () => {
    const left = [...sources, ...tests].filter(
      ({ path, text }) => path !== 'test/tidy.test.ts' && /\b(?:TODO|FIXME|XXX)\b/.test(text),
    )
    expect(left.map(({ path }) => path)).toEqual([])
  })

  test('use no `any` and hide no type error in the product', () => {
    const loose = sources.filter(({ text }) =>
      /\bas any\b|: any\b|@ts-(?:ignore|nocheck|expect-error)/.test(withoutComments(text)),
    )
    expect(loose.map(({ path }) => path)).toEqual([])
  })
})

describe('functions', () => {
  const long = sources.flatMap(longFunctions).sort((a, b) => b.lines - a.lines)

  test(`have at most ${functionLinesMax} lines`, () => {
    expect(long[0]?.lines, `the longest is ${long[0]?.name}`).toBe(functionLinesMax)
  })

  test(`have more than ${functionLinesGoal} lines in ${functionsAboveGoalMax} places only`, () => {
    expect(long.map(({ name, lines }) => `${name}: ${lines}`)).toHaveLength(functionsAboveGoalMax)
  })
})

/** Those above the goal. */
function longFunctions({ path, text }: SourceFile): Array<{ readonly name: string; readonly lines: number }> {
  const source = ts.createSourceFile(path, text, ts.ScriptTarget.Latest, true)
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line
  const found: Array<{ readonly name: string; readonly lines: number }> = []
  const visit = (node: ts.Node): void => {
    if (ts.isFunctionLike(node) && 'body' in node && node.body) {
      const lines = lineOf(node.end) - lineOf(node.getStart(source)) + 1
      if (lines > functionLinesGoal)
        found.push({ name: `${path} ${node.name?.getText(source) ?? '(anonymous)'}`, lines })
    }
    ts.forEachChild(node, visit)
  }
  visit(source)
  return found
}

/** Every folder of the room has to be named; files that lie in none of them may import from all. */
function wrongBetweenFolders(room: string, mayImport: Readonly<Record<string, readonly string[]>>): string[] {
  const folderOf = (path: string) =>
    path.startsWith(`${room}/`) && path.split('/').length > 2 ? path.split('/')[1]! : null
  return sources.flatMap(({ path, imports }) => {
    const from = folderOf(path)
    if (from === null) return []
    const allowed = mayImport[from]
    if (!allowed) return [`${path} lies in a folder without a direction`]
    return imports
      .filter((target) => {
        const to = folderOf(target)
        return to !== null && to !== from && !allowed.includes(to)
      })
      .map((target) => `${path} imports ${target}`)
  })
}

function withoutComments(text: string): string {
  return text.replaceAll(/\/\*[\s\S]*?\*\//g, '').replaceAll(/^\s*\/\/.*$/gm, '')
}
