/** Where the package lies, for files that are read at run time: the same folder for its sources and for what `npm run build` made. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** False where a loader of TypeScript is at work, which then takes a definition as well. */
export const isCompiled = !import.meta.filename.endsWith('.ts')

export const packageFolder = folderWith('package.json')

/** Where the command's own modules lie: the package itself, or the folder that `npm run build` was told. */
export const codeFolder = isCompiled ? folderWith('cli/main.js') : packageFolder

function folderWith(path: string): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, path))) return folder
    if (dirname(folder) === folder)
      throw new Error(`No ${path} lies above ${import.meta.dirname}: the package is not whole`)
  }
}
