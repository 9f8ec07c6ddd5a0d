import { EventEmitter } from 'node:events'
import { describe, expect, test } from 'vitest'
import { createShutdown } from '../../cli/shutdown.ts'
import { aborted, createStopping } from '../../cli/signals.ts'

function fakeProcess() {
  const exits: number[] = []
  return Object.assign(new EventEmitter(), { exits, exit: (code: number) => void exits.push(code) })
}

describe('signals', () => {
  test('the first requests a stop, the second stops at once', async () => {
    const process = fakeProcess()
    const lines: string[] = []
    const stopping = createStopping(process, { out: () => undefined, err: (line) => lines.push(line) })
    const signal = stopping.signal()
    expect(signal.aborted).toBe(false)
    process.emit('SIGTERM')
    expect([signal.aborted, process.exits]).toEqual([true, []])
    await expect(aborted(signal)).resolves.toBe('aborted')
    process.emit('SIGINT')
    expect(process.exits).toEqual([130])
    expect(lines).toEqual(['Stopping. A second signal stops immediately.', 'Stopped immediately.'])
  })

  test('nothing listens before the signal is requested, nor after disposal', () => {
    const process = fakeProcess()
    const stopping = createStopping(process, { out: () => undefined, err: () => undefined })
    expect(process.listenerCount('SIGINT')).toBe(0)
    stopping.signal()
    stopping.signal()
    expect([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]).toEqual([1, 1])
    stopping.dispose()
    expect([process.listenerCount('SIGINT'), process.listenerCount('SIGTERM')]).toEqual([0, 0])
  })
})

describe('closing', () => {
  /** A deadline that is reached when the test decides. */
  function manualDeadline() {
    let reach: () => void = () => undefined
    const reached = new Promise<'late'>((resolve) => {
      reach = () => resolve('late')
    })
    const asked: number[] = []
    let cancelled = 0
    const after = (ms: number) => {
      asked.push(ms)
      return { reached, cancel: () => void cancelled++ }
    }
    return { after, reach: () => reach(), asked, cancelled: () => cancelled }
  }

  test('runs in reverse order, every part even if one fails, once', async () => {
    const deadline = manualDeadline()
    const shutdown = createShutdown(deadline.after)
    const closed: string[] = []
    const refused = new Error('b does not close')
    shutdown.add('a', async () => closed.push('a'))
    shutdown.add('b', async () => {
      closed.push('b')
      throw refused
    })
    shutdown.add('c', async () => closed.push('c'))
    const outcome = shutdown.close(10_000)
    expect(shutdown.close(5)).toBe(outcome)
    expect(await outcome).toEqual({ failures: [{ name: 'b', error: refused }], late: [] })
    expect(closed).toEqual(['c', 'b', 'a'])
    expect([deadline.asked, deadline.cancelled()]).toEqual([[10_000], 1])
  })

  test('closes what is opened while it closes, and after', async () => {
    const shutdown = createShutdown(manualDeadline().after)
    const closed: string[] = []
    shutdown.add('a', async () => {
      shutdown.add('b', async () => closed.push('b'))
      closed.push('a')
    })
    expect(await shutdown.close(10_000)).toEqual({ failures: [], late: [] })
    expect(closed).toEqual(['a', 'b'])
    shutdown.add('c', async () => closed.push('c'))
    expect(closed).toEqual(['a', 'b', 'c'])
  })

  test('ends at the deadline and names what is still open', async () => {
    const deadline = manualDeadline()
    const shutdown = createShutdown(deadline.after)
    const closed: string[] = []
    shutdown.add('a', async () => closed.push('a'))
    shutdown.add('b', () => new Promise(() => undefined))
    shutdown.add('c', async () => closed.push('c'))
    const outcome = shutdown.close(10_000)
    deadline.reach()
    expect(await outcome).toMatchObject({ failures: [], late: expect.arrayContaining(['b', 'a']) })
    expect(closed).not.toContain('a')
  })
})
