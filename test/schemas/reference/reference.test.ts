/** docs/definition.md is what the code says: builders and options with their comments, every example run, every error as it is reported. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import ts from 'typescript'
import { expect, test } from 'vitest'
import { packageFolder } from '../../../runtime/package-folder.ts'
import { checkDefinition } from '../../../schemas/definition/check-definition.ts'
import { count, definePipeline, type Pipeline } from '../../../schemas/definition/definition.ts'
import { compile } from '../../../schemas/plan/compile.ts'
import { loose, orderSpecs } from '../mistakes.ts'
import { returns, sound } from '../shop-definition.ts'
import { type Example, examples } from './examples.ts'

const entry = join(packageFolder, 'schemas/definition/definition.ts')
const program = ts.createProgram([entry], { allowImportingTsExtensions: true, noEmit: true, noResolve: false })
const checker = program.getTypeChecker()
const exported = new Map(
  checker.getExportsOfModule(checker.getSymbolAtLocation(program.getSourceFile(entry)!)!).map((symbol) => {
    const isAlias = (symbol.flags & ts.SymbolFlags.Alias) !== 0
    return [symbol.name, isAlias ? checker.getAliasedSymbol(symbol) : symbol] as const
  }),
)

/** Options that a page has a table of; those of the models live beside them. */
function declarationOf(name: string): ts.InterfaceDeclaration {
  for (const file of program.getSourceFiles().filter(({ fileName }) => fileName.includes('/schemas/'))) {
    const found = file.statements.find((one) => ts.isInterfaceDeclaration(one) && one.name.text === name)
    if (found) return found as ts.InterfaceDeclaration
  }
  throw new Error(`there is no interface ${name}`)
}

const comment = (node: ts.Node) =>
  (ts.getJSDocCommentsAndTags(node)[0]?.getText() ?? '')
    .replaceAll(/^\/\*\*|\*\/$/g, '')
    .replaceAll(/\s*\n\s*\* ?/g, ' ')
    .trim()
const cell = (words: string) => words.replaceAll('|', '\\|').replaceAll(/\s+/g, ' ')

function optionTable(name: string): string[] {
  const { members } = declarationOf(name)
  const rows = members.map((member) => {
    const signature = member as ts.PropertySignature | ts.MethodSignature
    const type = ts.isPropertySignature(signature)
      ? signature.type!.getText()
      : `function${signature.getText().match(/\(.*\)/s)![0]}`
    const given = signature.questionToken ? '' : ' (required)'
    const described = comment(signature)
    return `| \`${signature.name.getText()}\`${given} | \`${cell(type)}\` | ${cell(described)} |`
  })
  return [`\`${name}\``, '', '| option | type | meaning |', '| --- | --- | --- |', ...rows, '']
}

/** The text of an arrow function's body. */
function sourceOf(name: string): { readonly example: string; readonly wrong: readonly string[] } {
  const path = join(packageFolder, 'test/schemas/reference/examples.ts')
  const file = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.Latest, true)
  const found: string[] = []
  const visit = (node: ts.Node, isInside: boolean): void => {
    const isMine =
      ts.isPropertyAssignment(node) && node.name.getText() === name && ts.isObjectLiteralExpression(node.initializer)
    const isOwn = ts.isArrowFunction(node) && node.parameters.length === 0 && isInside
    if (isOwn) found.push(dedented(node.body.getText()))
    else ts.forEachChild(node, (child) => visit(child, isInside || isMine))
  }
  visit(file, false)
  const [example, ...wrong] = found
  return { example: example!, wrong: wrong.map((one) => one.replaceAll(/js\((\w+)\)/g, '$1')) }
}

function dedented(code: string): string {
  const lines = code.split('\n')
  const indents = lines.slice(1).filter((line) => line.trim() !== '')
  const least = Math.min(...indents.map((line) => line.length - line.trimStart().length))
  return lines.map((line, i) => (i === 0 ? line : line.slice(least))).join('\n')
}

/** The value in its place of a definition that is right otherwise. */
function definitionWith(name: string, value: unknown): Pipeline {
  const { kind } = value as { readonly kind: string }
  const put = (change: object) => definePipeline({ ...sound, ...change } as never) as Pipeline
  if (kind === 'pipeline') return value as Pipeline
  if (kind === 'better') return put({ learn: { promoteIf: value } })
  if (['logistic', 'mlp', 'prior', 'own'].includes(kind)) return put({ model: value })
  if (kind === 'aggregate' || kind === 'derived') return put({ features: { ...sound.features, example: value } })
  if (kind === 'entity')
    return put({ features: { ...sound.features, example: count(returns, { by: value as never, over: '1d' }) } })
  const bent =
    kind === 'stream'
      ? value
      : loose.stream('orders', { id: 'orderId', key: 'buyerId', time: 'at', fields: { ...orderSpecs, [name]: value } })
  const { fields, key } = bent as never as { fields: Record<string, never>; key: string }
  const by = loose.entity('user', [fields[key]])
  return put({ scores: bent, features: { example: count(bent as never, { by, over: '1d' }) } })
}

function section(name: string, { options, example, wrong }: Example): string[] {
  const source = sourceOf(name)
  const declaration = exported.get(name)!.declarations![0]!
  compile(definitionWith(name, example()))
  const errors = wrong.map((make, i) => {
    const [problem] = checkDefinition(definitionWith(name, make()))
    expect(problem, source.wrong[i]).toBeDefined()
    const { path, expected, received } = problem!
    return `| \`${cell(source.wrong[i]!)}\` | ${cell(`${path}: expected ${expected}, received ${received}`)} |`
  })
  return [
    `## ${name}`,
    '',
    comment(declaration),
    '',
    '```ts',
    source.example,
    '```',
    '',
    ...options.flatMap(optionTable),
    ...(errors.length > 0 ? ['| mistake | what is reported |', '| --- | --- |', ...errors, ''] : []),
  ]
}

test('the page is what the code says', async () => {
  const head = [
    '# The definition language',
    '',
    'Generated from the code by `test/schemas/reference/reference.test.ts` (`-u` writes it anew): every example was run, and',
    'every error is as it is reported. The examples use the streams and entities of `test/schemas/shop-definition.ts`. Import',
    'the builders from `millrace`.',
    '',
    'A duration is a plain decimal number and a unit (`500ms`, `90s`, `15m`, `12h`, `7d`), of whole milliseconds, at most',
    '36525d. Kinds of values, names of options and missing fields are checked by TypeScript and again at load; ranges, names',
    'and lengths at load. An option that is not known, and a key that is written twice in one object of a definition file, is',
    'a mistake. All mistakes of a definition are reported at once.',
    '',
  ]
  const page = [...head, ...Object.entries(examples).flatMap(([name, example]) => section(name, example))].join('\n')
  await expect(page).toMatchFileSnapshot('../../../docs/definition.md')
})

test('every builder is on it', () => {
  // Of a file beside a definition: docs/producing.md.
  exported.delete('defineMapping')
  const builders = [...exported].flatMap(([name, symbol]) => (symbol.flags & ts.SymbolFlags.Function ? [name] : []))
  expect(Object.keys(examples).sort()).toEqual(builders.sort())
})
