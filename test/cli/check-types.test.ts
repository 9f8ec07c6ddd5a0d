/** The types of a definition are checked before it runs: mistakes with file and line, once right silence, and a sentence where not. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { checkTypes } from '../../cli/check-types.ts'
import { packageFolder } from '../../runtime/package-folder.ts'
import { call } from './call.ts'

const builders = join(packageFolder, 'schemas/definition/definition.ts')

/** In the repository, so that TypeScript and the settings of this project are those of the definition. */
function folder(): string {
  const path = mkdtempSync(join(packageFolder, 'test', 'cli', 'fixtures', 'types-'))
  onTestFinished(() => rmSync(path, { recursive: true, force: true }))
  return path
}

function contextIn(path: string, typeCheck: 'on' | 'off' = 'on') {
  const printed: string[] = []
  const context = { config: { typeCheck, folder: path }, terminal: { err: (line: string) => printed.push(line) } }
  return { context: context as never as Parameters<typeof checkTypes>[1], printed }
}

test('a mistake is printed with file and line, also in what is imported, and again until it is mended', async () => {
  const path = folder()
  const [definition, fields] = [join(path, 'shop.ts'), join(path, 'fields.ts')]
  const { context, printed } = contextIn(path)
  const write = (option: string) =>
    writeFileSync(fields, `import { text } from '${builders}'\n\nexport const id = text({ ${option}: 9 })\n`)
  writeFileSync(definition, "import { id } from './fields.ts'\n\nexport default id\n")
  write('lengthmax')
  for (let time = 0; time < 2; time++) {
    await expect(checkTypes(definition, context)).rejects.toThrow(
      expect.objectContaining({
        code: 'definition_invalid',
        message: expect.stringMatching(
          /has 1 mistake in its types[\s\S]*types-\w+\/fields\.ts:3:26: .*'lengthmax'.*TS2561/,
        ),
      }),
    )
  }
  write('lengthMax')
  await checkTypes(definition, context)
  // Known as right: nothing is compiled.
  const beganMs = performance.now()
  await checkTypes(definition, context)
  expect(performance.now() - beganMs).toBeLessThan(1_000)
  write('lengthmax')
  await expect(checkTypes(definition, context)).rejects.toThrow('lengthmax')
  expect(printed).toEqual([])
})

test('it says where nothing was checked', async () => {
  const path = folder()
  const definition = join(path, 'shop.mjs')
  writeFileSync(definition, 'export default 1\n')
  const on = contextIn(path)
  await checkTypes(definition, on.context)
  expect(on.printed).toEqual([`The types of ${definition} were not checked: it is no TypeScript.`])
  const off = contextIn(path, 'off')
  await checkTypes('pipelines/card-fraud.ts', off.context)
  expect(off.printed).toEqual(['The types of pipelines/card-fraud.ts were not checked: MILLRACE_TYPE_CHECK is off.'])
})

test('run refuses a definition whose types are wrong', async () => {
  const definition = join(folder(), 'shop.ts')
  writeFileSync(definition, "const total: number = 'much'\nexport default total\n")
  const { code, err } = await call(['run', definition])
  expect([code, err[1]]).toEqual([
    1,
    expect.stringMatching(/shop\.ts:1:7: Type 'string' is not assignable to type 'number'/),
  ])
})
