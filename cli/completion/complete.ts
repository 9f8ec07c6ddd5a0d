/**
 * The words of an unfinished command line in, what may come next out, derived from the commands as they are declared and the definition
 * that is named; called by the hidden command `complete`, which the scripts of `completion.ts` call.
 */
import type { Argument, Command, Option } from 'commander'
import type { Plan } from '../../schemas/plan/plan.ts'
import { tailTopics } from '../tail/topics.ts'

export interface Candidate {
  readonly value: string
  readonly description: string
}

/** `files` and `folders`: the shell completes them itself. */
export interface Completion {
  readonly candidates: readonly Candidate[]
  readonly paths: 'files' | 'folders' | null
}

/** Null where the definition cannot be loaded. */
export type LoadPlan = (definition: string) => Promise<Plan | null>

const nothing: Completion = { candidates: [], paths: null }
const files: Completion = { candidates: [], paths: 'files' }

/** `words`: those after `millrace`, the last of them the one that is being typed, maybe empty. */
export async function complete(program: Command, words: readonly string[], loadPlan: LoadPlan): Promise<Completion> {
  const current = words.at(-1) ?? ''
  const [name, ...typed] = words.slice(0, -1)
  if (name === undefined) {
    const commands = program.createHelp().visibleCommands(program)
    const options = current.startsWith('-') ? optionsOf(program) : []
    return starting(current, [...commands.map((one) => candidate(one.name(), one.description())), ...options])
  }
  const command = program.commands.find((one) => one.name() === name)
  if (command === undefined) return nothing
  if (command.commands.length > 0) return complete(command, words.slice(1), loadPlan)
  const { positionals, open } = read(command, typed)
  const values = (of: Option | Argument) => valuesOf(of, positionals, loadPlan)
  if (open !== null) return within(current, await values(open))
  const [, flag, started] = /^(--[\w-]+)=(.*)$/s.exec(current) ?? []
  if (flag !== undefined) {
    const option = optionNamed(command, flag)
    if (option === undefined) return nothing
    const { candidates } = within(started!, await values(option))
    return { candidates: candidates.map((one) => ({ ...one, value: `${flag}=${one.value}` })), paths: null }
  }
  if (current.startsWith('-')) return starting(current, optionsOf(command))
  const { registeredArguments } = command
  const last = registeredArguments.at(-1)
  const argument = registeredArguments[positionals.length] ?? (last?.variadic ? last : undefined)
  return argument === undefined ? nothing : within(current, await values(argument))
}

/** What a shell script reads: a candidate a line with its description, then whether the shell is to add paths. */
export function completionLines({ candidates, paths }: Completion): string[] {
  const lines = candidates.map(({ value, description }) => `${value}\t${description.replaceAll(/\s+/g, ' ')}`)
  return paths === null ? lines : [...lines, `:${paths}`]
}

/** `open`: the option whose value is being typed. */
function read(command: Command, words: readonly string[]): { positionals: string[]; open: Option | null } {
  const positionals: string[] = []
  let open: Option | null = null
  for (const word of words) {
    if (open !== null) open = null
    else if (word.startsWith('-')) {
      const option = word.includes('=') ? undefined : optionNamed(command, word)
      if (option?.required) open = option
    } else positionals.push(word)
  }
  return { positionals, open }
}

async function valuesOf(
  of: Option | Argument,
  positionals: readonly string[],
  loadPlan: LoadPlan,
): Promise<Completion> {
  if (of.argChoices !== undefined) return these(of.argChoices)
  const plan = async () => (positionals[0] === undefined ? null : loadPlan(positionals[0]))
  const streams = async () => (await plan())?.streams.map(({ name }) => name) ?? []
  switch (valueName(of)) {
    case 'definition':
    case 'file':
      return files
    case 'folder':
      return { ...files, paths: 'folders' }
    case 'source':
      return { ...files, candidates: these(['handbook', 'stdin']).candidates }
    case 'topic':
      return these([...tailTopics, ...(await streams())])
    case 'name':
      return these(await streams())
    case 'entity':
      return these((await plan())?.stages.map(({ entity }) => entity.name) ?? [])
    default:
      return nothing
  }
}

/** The text between the brackets: `entity` of `<entity>` and of `--stage <entity>`. */
function valueName(of: Option | Argument): string {
  return 'flags' in of ? (/[<[]([\w-]+)/.exec(of.flags)?.[1] ?? '') : of.name()
}

function optionNamed(command: Command, flag: string): Option | undefined {
  return command.options.find(({ short, long }) => short === flag || long === flag)
}

function optionsOf(command: Command): Candidate[] {
  const options = command.createHelp().visibleOptions(command)
  return options.map(({ long, short, description }) => candidate((long ?? short)!, description))
}

function these(values: readonly string[]): Completion {
  return { candidates: values.map((value) => candidate(value, '')), paths: null }
}

function starting(current: string, candidates: readonly Candidate[]): Completion {
  return { candidates: candidates.filter(({ value }) => value.startsWith(current)), paths: null }
}

function within(current: string, { candidates, paths }: Completion): Completion {
  return { ...starting(current, candidates), paths }
}

function candidate(value: string, description: string): Candidate {
  return { value, description }
}
