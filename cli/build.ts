/**
 * `npm run build`: the command and the definitions compiled to plain JavaScript, for `node dist/cli/main.js run
 * dist/pipelines/card-fraud.js`. That starts in a third of the time that the sources take, because no loader runs between Node and each
 * module, and what every start needs of packages is in it.
 */
import { readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { build } from 'esbuild'
import { packageFolder } from '../runtime/package-folder.ts'

/** Cleared first, so that it is one of ours: `dist`, or a folder of the given name in `.millrace`. */
const name = process.argv[2]
if (name !== undefined && !/^[\w-]+$/.test(name))
  throw new Error(`Expected the plain name of a folder, received ${name}`)
const outdir = join(packageFolder, name === undefined ? 'dist' : join('.millrace', name))

/** Those that must stay where they are: patched there, with native code, or a loader of code itself. */
const leftOut = ['kafkajs', '@duckdb/node-api', 'snappy', 'lz4-napi', '@tensorflow/*', 'esbuild', 'tsx']

const definitions = (await readdir(join(packageFolder, 'pipelines'))).filter((name) => name.endsWith('.ts'))

await rm(outdir, { recursive: true, force: true })
await build({
  entryPoints: ['cli/main.ts', 'cli/learn/fit-worker.ts', ...definitions.map((name) => `pipelines/${name}`)].map(
    (path) => join(packageFolder, path),
  ),
  outdir,
  outbase: packageFolder,
  bundle: true,
  splitting: true,
  external: leftOut,
  // Packages that are CommonJS require Node's own modules this way.
  banner: {
    js: "import { createRequire as requireFrom } from 'node:module'; const require = requireFrom(import.meta.url);",
  },
  platform: 'node',
  format: 'esm',
  target: 'node20.19',
  sourcemap: true,
  logLevel: 'warning',
  // As for a definition that is loaded from its source (`doubled-keys.ts`).
  logOverride: { 'duplicate-object-key': 'error' },
})
