/**
 * The path of a definition in, nothing out where its types are right; called by the commands that put a definition to work. Checks the file
 * and what it imports, where TypeScript is installed, and says where it did not. What was right is checked again once a file changes.
 */
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { dirname, join, resolve, sep } from 'node:path'
import { pathToFileURL } from 'node:url'
import { codeFolder, packageFolder } from '../runtime/package-folder.ts'
import { PipelineError } from '../schemas/kernel/errors.ts'
import type { CommandContext } from './context.ts'

/** What is used of TypeScript, which production does without: no import names it. */
interface TypeScript {
  readonly sys: { fileExists(path: string): boolean; readFile(path: string): string | undefined }
  findConfigFile(from: string, fileExists: (path: string) => boolean): string | undefined
  readConfigFile(path: string, read: (path: string) => string | undefined): { readonly config?: object }
  parseJsonConfigFileContent(json: object, host: object, folder: string): { readonly options: object }
  createProgram(files: readonly string[], options: object): Program
  flattenDiagnosticMessageText(text: unknown, newLine: string): string
}

interface Program {
  getSourceFiles(): readonly SourceFile[]
  getOptionsDiagnostics(): readonly Diagnostic[]
  getSyntacticDiagnostics(file: SourceFile): readonly Diagnostic[]
  getSemanticDiagnostics(file: SourceFile): readonly Diagnostic[]
}

interface SourceFile {
  readonly fileName: string
  readonly isDeclarationFile: boolean
  getLineAndCharacterOfPosition(position: number): { readonly line: number; readonly character: number }
}

interface Diagnostic {
  readonly file?: SourceFile | undefined
  readonly start?: number | undefined
  readonly messageText: unknown
  readonly code: number
}

const shownMax = 20

/** Throws `definition_invalid` with file, line and column of every mistake. */
export async function checkTypes(path: string, context: Pick<CommandContext, 'config' | 'terminal'>): Promise<void> {
  const { config, terminal } = context
  const absolute = resolve(path)
  // What is not there is reported where it is loaded.
  if (!existsSync(absolute)) return
  const unchecked = (why: string) => terminal.err(`The types of ${path} were not checked: ${why}.`)
  if (config.typeCheck === 'off') return unchecked('MILLRACE_TYPE_CHECK is off')
  if (!/\.[cm]?ts$/.test(path)) return unchecked('it is no TypeScript')
  const typescript = typescriptFor(absolute)
  if (typescript === null) return unchecked('TypeScript is not installed here')
  const record = recordOf(absolute, config.folder)
  if (isUnchanged(record)) return
  const { default: compiler } = (await import(pathToFileURL(typescript).href)) as { default: TypeScript }
  const program = programOf(compiler, absolute)
  const mistakes = mistakesIn(compiler, program)
  if (mistakes.length > 0) throw mistaken(path, mistakes)
  const files = [typescript, ...program.getSourceFiles().map(({ fileName }) => fileName)]
  await mkdir(dirname(record), { recursive: true })
  await writeFile(record, [stampOf(files), ...files].join('\n'))
}

/** That of the definition's project, else of this package; null where there is none. */
function typescriptFor(path: string): string | null {
  for (const from of [path, join(codeFolder, 'package.json')]) {
    try {
      return createRequire(from).resolve('typescript')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'MODULE_NOT_FOUND') throw error
    }
  }
  return null
}

function programOf(compiler: TypeScript, path: string): Program {
  const found = compiler.findConfigFile(dirname(path), compiler.sys.fileExists)
  const given = found === undefined ? {} : compiler.readConfigFile(found, compiler.sys.readFile).config
  const { options } = compiler.parseJsonConfigFileContent(
    // Of the project only how it is compiled matters, not which other files belong to it.
    { ...defaults, ...given, files: [path], include: [] },
    compiler.sys,
    found === undefined ? dirname(path) : dirname(found),
  )
  return compiler.createProgram([path], { ...options, ...always })
}

const defaults = {
  compilerOptions: {
    strict: true,
    target: 'ES2023',
    lib: ['ES2023'],
    module: 'NodeNext',
    moduleResolution: 'NodeNext',
  },
}
/** What is not used is a matter of taste, and nothing is written. */
const always = {
  noEmit: true,
  composite: false,
  incremental: false,
  skipLibCheck: true,
  allowImportingTsExtensions: true,
  noUnusedLocals: false,
  noUnusedParameters: false,
} as const

const ours = `${join(packageFolder, 'schemas')}${sep}`.replaceAll(sep, '/')

/** Of the user's own files: a mistake in a package, or in Millrace, is its maker's. */
function mistakesIn(compiler: TypeScript, program: Program): string[] {
  const own = program
    .getSourceFiles()
    .filter(
      ({ fileName, isDeclarationFile }) =>
        !isDeclarationFile && !fileName.includes('/node_modules/') && !fileName.startsWith(ours),
    )
  const found = own.flatMap((file) => [
    ...program.getSyntacticDiagnostics(file),
    ...program.getSemanticDiagnostics(file),
  ])
  return [...program.getOptionsDiagnostics(), ...found].map((diagnostic) => sentence(compiler, diagnostic))
}

function sentence(compiler: TypeScript, { file, start, messageText, code }: Diagnostic): string {
  const text = `${compiler.flattenDiagnosticMessageText(messageText, '\n    ')} (TS${code})`
  if (file === undefined || start === undefined) return text
  const { line, character } = file.getLineAndCharacterOfPosition(start)
  const cwd = `${process.cwd()}${sep}`
  const name = file.fileName.startsWith(cwd) ? file.fileName.slice(cwd.length) : file.fileName
  return `${name}:${line + 1}:${character + 1}: ${text}`
}

function mistaken(path: string, mistakes: readonly string[]): PipelineError {
  const count = mistakes.length === 1 ? '1 mistake' : `${mistakes.length} mistakes`
  const more = mistakes.length > shownMax ? [`and ${mistakes.length - shownMax} more`] : []
  const lines = [...mistakes.slice(0, shownMax), ...more].map((line) => `  ${line}`)
  return new PipelineError(
    'definition_invalid',
    `${path} has ${count} in its types (MILLRACE_TYPE_CHECK=off starts it all the same):\n${lines.join('\n')}`,
    { details: { mistakes } },
  )
}

function recordOf(path: string, folder: string): string {
  return join(folder, 'type-checks', `${createHash('sha256').update(path).digest('hex').slice(0, 16)}.txt`)
}

/** Whether every file is as it was when they were last found right. */
function isUnchanged(record: string): boolean {
  if (!existsSync(record)) return false
  const [stamp, ...files] = readFileSync(record, 'utf8').split('\n')
  return stampOf(files) === stamp
}

function stampOf(files: readonly string[]): string {
  const hash = createHash('sha256')
  for (const file of files) {
    const found = statSync(file, { throwIfNoEntry: false })
    hash.update(`${file} ${found?.size} ${found?.mtimeMs}\n`)
  }
  return hash.digest('hex')
}
