/** Where the package lies, for files that are read at run time: the same folder for its sources and for what `npm run build` made. */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** False where a loader of TypeScript is at work, which then takes a definition as well. */
export const isCompiled = !import.meta.filename.endsWith('.ts')

export const packageFolder = folderAbove(import.meta.dirname)

function folderAbove(folder: string): string {
  if (existsSync(join(folder, 'package.json'))) return folder
  const above = dirname(folder)
  if (above === folder) throw new Error(`No package.json lies above ${import.meta.dirname}: the package is not whole`)
  return folderAbove(above)
}
