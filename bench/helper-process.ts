/**
 * A load generator as a process of its own, so that sending and receiving do not delay each other: it gets an order, reports
 * ready, starts on request and answers. Both sides are here; the jobs start it, the generators' files serve it.
 */
import { fork } from 'node:child_process'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { PipelineError } from '../schemas/kernel/errors.ts'

export interface Helper<Answer> {
  /** Starts the work; resolves with its answer. */
  begin(): Promise<Answer>
  stop(): Promise<void>
}

type ToHelper<Order> = { readonly kind: 'order'; readonly order: Order } | { readonly kind: 'go' }
type FromHelper<Answer> =
  | { readonly kind: 'ready' }
  | { readonly kind: 'done'; readonly answer: Answer }
  | { readonly kind: 'failed'; readonly text: string }

/** What lets a Node that does not strip types itself run the file. */
const typeScriptLoader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href

/** `file`: of this folder. Resolves when it is ready. */
export async function startHelper<Order, Answer>(file: string, order: Order): Promise<Helper<Answer>> {
  const path = fileURLToPath(new URL(file, import.meta.url))
  const child = fork(path, [], { execArgv: ['--import', typeScriptLoader], serialization: 'advanced' })
  const exited = new Promise<void>((resolve) => {
    child.once('exit', () => resolve())
  })
  const send = (message: ToHelper<Order>) => void child.send(message)

  function received(kind: 'ready' | 'done'): Promise<FromHelper<Answer>> {
    const message = new Promise<FromHelper<Answer>>((resolve, reject) => {
      child.once('error', reject)
      child.once('exit', (code) =>
        reject(new PipelineError('server_failed', `${file} ended with exit code ${code}; see its output above.`)),
      )
      child.on('message', (message: FromHelper<Answer>) => {
        if (message.kind === kind) resolve(message)
        else if (message.kind === 'failed') reject(new PipelineError('server_failed', `${file}: ${message.text}`))
      })
    })
    // The failure reaches the caller that awaits it; until then it must not be an unhandled rejection.
    message.catch(() => undefined)
    return message
  }

  const ready = received('ready')
  const done = received('done')
  send({ kind: 'order', order })
  await ready
  return {
    async begin() {
      send({ kind: 'go' })
      const message = await done
      if (message.kind !== 'done') throw new Error('unexpected message of the helper')
      return message.answer
    },
    async stop() {
      if (child.connected) child.disconnect()
      await exited
    },
  }
}

/** The helper's side. `prepare` may take its time; the function it returns is called on `begin`. Ends with its parent process. */
export function serveHelper<Order, Answer>(prepare: (order: Order) => Promise<() => Promise<Answer>>): void {
  const send = (message: FromHelper<Answer>) => void process.send!(message)
  const fail = (error: unknown) =>
    send({ kind: 'failed', text: error instanceof Error ? error.message : String(error) })
  let work: Promise<() => Promise<Answer>> | null = null
  process.on('message', (message: ToHelper<Order>) => {
    if (message.kind === 'order') {
      work = prepare(message.order)
      work.then(() => send({ kind: 'ready' }), fail)
    } else {
      work!.then((begin) => begin()).then((answer) => send({ kind: 'done', answer }), fail)
    }
  })
  process.once('disconnect', () => process.exit(0))
}
