/** `millrace models promote`, `dismiss`, `rollback` and `import`: manual changes of the registry, which pass no gate. */
import { readFile } from 'node:fs/promises'
import { isFor } from '../../online-model/models/fits.ts'
import { modelFromJson } from '../../online-model/registry/model-file.ts'
import { champion } from '../../online-model/registry/registry.ts'
import type { AliasOutcome, Cause } from '../../online-model/registry/writer.ts'
import { PipelineError } from '../../schemas/kernel/errors.ts'
import type { AliasChange } from '../../schemas/wire/records.ts'
import type { CommandContext } from '../context.ts'
import { exitCodes } from '../failure-text.ts'
import { type OpenRegistry, requireFitting, versionNamed, withRegistry } from './open-registry.ts'

export interface ReasonOptions {
  readonly reason: string
}

export interface ModelsPromoteOptions extends ReasonOptions {
  readonly as: 'champion' | 'challenger'
  readonly keepFormer?: boolean
  readonly replace?: string
}

export interface ModelsImportOptions extends ReasonOptions {
  readonly as?: 'champion' | 'challenger'
}

export async function modelsPromoteCommand(
  definition: string,
  name: string,
  options: ModelsPromoteOptions,
  context: CommandContext,
): Promise<number> {
  const { as: role, keepFormer, replace } = options
  if (role === 'champion' && replace !== undefined)
    throw new PipelineError('usage', '--replace applies to --as challenger; there is one champion.')
  if (role === 'challenger' && keepFormer)
    throw new PipelineError('usage', '--keep-former applies to --as champion: a challenger replaces no champion.')
  return await withRegistry(definition, context, async (open) => {
    requireFitting(open.plan, versionNamed(open, name))
    const change = held(await setRole(open, name, options, causeOf(options, context)))
    context.terminal.out(promoted(change, role))
    return exitCodes.done
  })
}

function setRole({ writer }: OpenRegistry, name: string, options: ModelsPromoteOptions, cause: Cause) {
  const { as: role, keepFormer = false, replace } = options
  return role === 'champion'
    ? writer.promote(name, { ...cause, isExplicit: true, keepsFormer: keepFormer })
    : writer.challenge(name, { ...cause, ...(replace === undefined ? {} : { instead: replace }) })
}

function promoted({ version, previous, action }: AliasChange, role: 'champion' | 'challenger'): string {
  const instead = previous === null ? '' : ` instead of ${previous}`
  const again = action === 'restore' ? ' Its rollback is cleared.' : ''
  return role === 'champion'
    ? `${version} is the champion now${instead || ', the first one'}.${again}`
    : `${version} is a challenger now${instead}: it scores in shadow from the next batch on.`
}

export async function modelsDismissCommand(
  definition: string,
  name: string,
  options: ReasonOptions,
  context: CommandContext,
): Promise<number> {
  return await withRegistry(definition, context, async (open) => {
    versionNamed(open, name)
    held(await open.writer.dismiss(name, causeOf(options, context)))
    context.terminal.out(`${name} is no longer a challenger.`)
    return exitCodes.done
  })
}

export async function modelsRollbackCommand(
  definition: string,
  options: ReasonOptions,
  context: CommandContext,
): Promise<number> {
  return await withRegistry(definition, context, async ({ plan, state, writer }) => {
    const from = champion(state)?.version
    if (from === undefined) throw new PipelineError('model_conflict', 'There is no champion to roll back.')
    const fits = (version: Parameters<typeof isFor>[0]) => isFor(version, plan)
    const change = held(await writer.rollback({ ...causeOf(options, context), from, fits }))
    context.terminal.out(
      `${change.version} is the champion again; ${from} was rolled back, and only models promote makes it the champion again.`,
    )
    return exitCodes.done
  })
}

export async function modelsImportCommand(
  definition: string,
  file: string,
  options: ModelsImportOptions,
  context: CommandContext,
): Promise<number> {
  const { as: role } = options
  const text = await readFile(file, 'utf8').catch((cause: Error) => {
    throw new PipelineError('input_unreadable', `Model ${file} cannot be read: ${cause.message}.`, { cause })
  })
  const read = modelFromJson(text, file)
  return await withRegistry(definition, context, async (open) => {
    requireFitting(open.plan, read, `The ${read.version} of ${file}`)
    const { fingerprint, identities = {}, seed, model, metrics, trainedOn } = read
    // The version that it has in the file may be another one here, and so may its parent.
    const lineage = { parent: null, origin: 'import' as const }
    const made = await open.writer.publish({ fingerprint, identities, seed, model, metrics, trainedOn, ...lineage })
    context.terminal.out(`${made.version} was ${read.version} of ${file}.`)
    if (role !== undefined) {
      const outcome = await setRole(open, made.version, { ...options, as: role }, causeOf(options, context))
      context.terminal.out(promoted(held(outcome), role))
    }
    return exitCodes.done
  })
}

function held(outcome: AliasOutcome): AliasChange {
  if (outcome.accepted) return outcome.change
  throw new PipelineError('model_conflict', `Nothing was changed: ${outcome.why}.`)
}

function causeOf({ reason }: ReasonOptions, { env }: CommandContext): Cause {
  const { USER: user } = env
  return { by: user === undefined || user === '' ? 'millrace models' : `${user} with millrace models`, reason }
}
