/** Schemathesis makes requests of the OpenAPI description, sound ones and bent ones, and holds a running pipeline to it. */
import { execFile } from 'node:child_process'
import { expect, test } from 'vitest'
import { ownFolder } from '../support/command.ts'
import { runPipeline } from '../support/running-pipeline.ts'
import { findSchemathesis } from '../support/schemathesis.ts'

const command = findSchemathesis()
const isLeftOut = command === null && process.env.CI !== 'true'
if (isLeftOut) {
  console.log('LEFT OUT: test/integration/schemathesis.test.ts, which needs the command st: pip install schemathesis.')
}

/** The schema of events is weaker than the codec's checks, so it does not decide whether modified ones are rejected. */
const checks = [
  'not_a_server_error',
  'status_code_conformance',
  'content_type_conformance',
  'response_headers_conformance',
  'response_schema_conformance',
  'unsupported_method',
  'allow_header_conformance',
]
/** More workers than one stumble over the interpreter. */
const options = [
  '--workers=1',
  '--max-examples=10',
  '--phases=examples,coverage,fuzzing',
  '--seed=1',
  '--continue-on-failure',
]

test.skipIf(isLeftOut)(
  'no request makes a server error or an answer that is not described',
  { timeout: 240_000 },
  async () => {
    expect(command, 'with CI=true schemathesis must be there: .ci/run installs it').not.toBeNull()
    const { url, output } = await runPipeline('schemathesis')
    const args = [
      'run',
      `${url}/openapi.json`,
      ...options,
      '--no-color',
      '--warnings=off',
      '--generation-database=none',
    ]
    const ran = await new Promise<{ code: number; output: string }>((resolve) => {
      const limits = { cwd: ownFolder(), timeout: 180_000, maxBuffer: 64 * 1_024 * 1_024 }
      execFile(command!, [...args, `--checks=${checks.join(',')}`], limits, (error, stdout, stderr) =>
        resolve({ code: error === null ? 0 : 1, output: `${stdout}${stderr}` }),
      )
    })
    expect(ran.code, ran.output.slice(-5_000)).toBe(0)
    const [, tested] = /Tested: (\d+)/.exec(ran.output) ?? []
    const [, generated] = /(\d+) generated/.exec(ran.output) ?? []
    expect([Number(tested), Number(generated) > 300]).toEqual([10, true])
    expect(output()).not.toContain('a request failed')
  },
)
