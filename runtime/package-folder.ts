/** The folder of the package, for files that are read at run time: the same for its sources and for the output of `npm run build`. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** False where a TypeScript loader is active, which can then load a definition as well. */
export const isCompiled = !import.meta.filename.endsWith('.ts')

export const packageFolder = folderWith('package.json')

/** The folder of the command's own modules: the package itself, or the output folder of `npm run build`. */
export const codeFolder = isCompiled ? folderWith('cli/main.js') : packageFolder

function folderWith(path: string): string {
  for (let folder = import.meta.dirname; ; folder = dirname(folder)) {
    if (existsSync(join(folder, path))) return folder
    if (dirname(folder) === folder)
      throw new Error(`No ${path} lies above ${import.meta.dirname}: the package is not whole`)
  }
}
