/** Signals: the first one asks the command to stop, the second one ends the process immediately. Created by `program.ts`. */
import { exitCodes } from './failure-text.ts'
import type { Terminal } from './terminal.ts'

const signals = ['SIGINT', 'SIGTERM'] as const

/** What a command needs of the process that it runs in; Node's own `process` is one. */
export interface ProcessEdge {
  on(signal: (typeof signals)[number], listener: () => void): unknown
  off(signal: (typeof signals)[number], listener: () => void): unknown
  exit(code: number): unknown
}

export interface Stopping {
  /**
   * Aborted by SIGINT or SIGTERM. Listening begins with the first call, so that a command that cannot stop half-way is ended by the
   * signal as any other program is.
   */
  signal(): AbortSignal
  /** Ends the process without waiting for anything: for parts that do not close in time. */
  exit(code: number): void
  /** Stops listening; the next signal ends the process as usual. */
  dispose(): void
}

export function createStopping(edge: ProcessEdge, terminal: Terminal): Stopping {
  const controller = new AbortController()
  let isListening = false

  function onSignal(): void {
    if (controller.signal.aborted) {
      terminal.err('Stopped immediately.')
      edge.exit(exitCodes.interrupted)
      return
    }
    terminal.err('Stopping. A second signal stops immediately.')
    controller.abort()
  }

  return {
    signal() {
      if (!isListening) for (const name of signals) edge.on(name, onSignal)
      isListening = true
      return controller.signal
    },
    exit: (code) => void edge.exit(code),
    dispose() {
      if (isListening) for (const name of signals) edge.off(name, onSignal)
      isListening = false
    },
  }
}

/** Resolves when the signal is aborted. */
export function aborted(signal: AbortSignal): Promise<'aborted'> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve('aborted')
    else signal.addEventListener('abort', () => resolve('aborted'), { once: true })
  })
}
