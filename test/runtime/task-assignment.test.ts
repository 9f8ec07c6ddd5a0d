import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { Task } from '../../runtime/broker.ts'
import { type AssignmentMember, assignTasks } from '../../runtime/task-assignment.ts'

const seed = 20260801

function member(name: string, previous: readonly Task[] = [], generation = 1): AssignmentMember {
  return { name, previous, generation }
}

function asText(assigned: Map<string, Task[]>): Record<string, string> {
  return Object.fromEntries(
    [...assigned].map(([name, tasks]) => [name, tasks.map(({ stage, partition }) => `${stage}${partition}`).join(' ')]),
  )
}

function counts(assigned: Map<string, Task[]>, stage?: string): number[] {
  return [...assigned.values()].map(
    (tasks) => tasks.filter((task) => stage === undefined || task.stage === stage).length,
  )
}

function spread(numbers: readonly number[]): number {
  return Math.max(...numbers) - Math.min(...numbers)
}

function moves(before: ReadonlyMap<string, readonly Task[]>, after: Map<string, Task[]>): number {
  let moved = 0
  for (const [name, tasks] of before) {
    const now = new Set((after.get(name) ?? []).map(({ stage, partition }) => `${stage}${partition}`))
    if (after.has(name)) moved += tasks.filter(({ stage, partition }) => !now.has(`${stage}${partition}`)).length
  }
  return moved
}

const twoStages = [
  { stage: 'a', partitions: 4 },
  { stage: 'b', partitions: 4 },
]

describe('assignTasks', () => {
  test('one member gets everything', () => {
    expect(asText(assignTasks(twoStages, [member('x')]))).toEqual({ x: 'a0 a1 a2 a3 b0 b1 b2 b3' })
  })

  test('three members share eight tasks of two stages', () => {
    const assigned = assignTasks(twoStages, [member('x'), member('y'), member('z')])
    expect(counts(assigned).sort()).toEqual([2, 3, 3])
    expect(counts(assigned, 'a').sort()).toEqual([1, 1, 2])
    expect(counts(assigned, 'b').sort()).toEqual([1, 1, 2])
  })

  test('a newcomer takes only its share, the others keep the rest of theirs', () => {
    const before = assignTasks(twoStages, [member('x'), member('y')])
    const after = assignTasks(twoStages, [
      member('x', before.get('x')),
      member('y', before.get('y')),
      member('new', [], 0),
    ])
    expect(counts(after).sort()).toEqual([2, 3, 3])
    expect(moves(before, after)).toBe(after.get('new')!.length)
  })

  test('who leaves has its tasks moved, the others keep all of theirs', () => {
    const before = assignTasks(twoStages, [member('x'), member('y'), member('z')])
    const after = assignTasks(twoStages, [member('x', before.get('x')), member('z', before.get('z'))])
    expect(counts(after)).toEqual([4, 4])
    expect(moves(before, after)).toBe(0)
  })

  test('a member that returns without memory gets back what no other member claims', () => {
    const before = assignTasks(twoStages, [member('x'), member('y'), member('z')])
    const after = assignTasks(twoStages, [member('x', before.get('x')), member('y'), member('z', before.get('z'))])
    expect(asText(after)).toEqual(asText(before))
  })

  test('of two claims the later generation counts', () => {
    const all = assignTasks([{ stage: 'a', partitions: 2 }], [member('x')]).get('x')!
    const after = assignTasks([{ stage: 'a', partitions: 2 }], [member('x', all, 3), member('y', [all[0]!], 4)])
    expect(asText(after)).toEqual({ x: 'a1', y: 'a0' })
  })

  test('tasks of stages and partitions that no longer exist are forgotten', () => {
    const previous = [
      { stage: 'gone', partition: 0 },
      { stage: 'a', partition: 9 },
    ]
    expect(asText(assignTasks([{ stage: 'a', partitions: 1 }], [member('x', previous)]))).toEqual({ x: 'a0' })
  })

  test('more members than tasks leaves some idle', () => {
    const assigned = assignTasks(
      [{ stage: 'a', partitions: 1 }],
      [member('x'), member('y', [{ stage: 'a', partition: 0 }])],
    )
    expect(asText(assigned)).toEqual({ x: '', y: 'a0' })
  })

  test('without members it fails', () => {
    expect(() => assignTasks(twoStages, [])).toThrow('a group has at least one member')
  })

  const stagesOf = fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1, maxLength: 4 })
  const namesOf = fc.uniqueArray(fc.constantFrom(...'abcdefgh'), { minLength: 1, maxLength: 6 })

  test('any group through any change: complete, balanced over all and within each stage, in any order', () => {
    fc.assert(
      fc.property(stagesOf, namesOf, namesOf, (partitions, firstNames, thenNames) => {
        const stages = partitions.map((count, at) => ({ stage: `s${at}`, partitions: count }))
        const before = assignTasks(
          stages,
          firstNames.map((name) => member(name)),
        )
        const members = thenNames.map((name) => member(name, before.get(name) ?? [], before.has(name) ? 1 : 0))
        const after = assignTasks(stages, members)
        const everything = stages.flatMap(({ stage, partitions: count }) =>
          Array.from({ length: count }, (_, partition) => `${stage} ${partition}`),
        )
        const given = [...after.values()].flat().map(({ stage, partition }) => `${stage} ${partition}`)
        expect(given.sort()).toEqual(everything.sort())
        expect(spread(counts(after))).toBeLessThanOrEqual(1)
        for (const { stage } of stages) expect(spread(counts(after, stage))).toBeLessThanOrEqual(1)
        expect(asText(assignTasks([...stages].reverse(), [...members].reverse()))).toEqual(asText(after))
        if (firstNames.length === thenNames.length && firstNames.every((name) => thenNames.includes(name))) {
          expect(moves(before, after)).toBe(0)
        }
      }),
      { seed, numRuns: 300 },
    )
  })

  /** All balanced numbers of tasks by member and stage, by trying everything: the oracle for the number of moves. */
  function fewestMoves(partitions: readonly number[], had: readonly (readonly number[])[]): number {
    const members = had.length
    let best = Number.POSITIVE_INFINITY
    const quotas = had.map(() => partitions.map(() => 0))
    const assign = (stage: number): void => {
      if (stage === partitions.length) {
        if (spread(quotas.map((row) => row.reduce((sum, count) => sum + count, 0))) > 1) return
        let moved = 0
        for (const [at, row] of quotas.entries()) {
          for (const [of, quota] of row.entries()) moved += Math.max(0, had[at]![of]! - quota)
        }
        best = Math.min(best, moved)
        return
      }
      const base = Math.floor(partitions[stage]! / members)
      const extra = partitions[stage]! % members
      for (let chosen = 0; chosen < 1 << members; chosen++) {
        const bits = [...Array(members).keys()].filter((at) => (chosen >> at) & 1)
        if (bits.length !== extra) continue
        quotas.forEach((row, at) => {
          row[stage] = base + (bits.includes(at) ? 1 : 0)
        })
        assign(stage + 1)
      }
    }
    assign(0)
    return best
  }

  test('no balanced assignment moves fewer tasks, compared with trying them all', () => {
    fc.assert(
      fc.property(
        fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 3 }),
        fc.integer({ min: 1, max: 4 }),
        fc.infiniteStream(fc.nat()),
        (partitions, members, choices) => {
          const stages = partitions.map((count, at) => ({ stage: `s${at}`, partitions: count }))
          const names = [...'abcd'].slice(0, members)
          const before = new Map<string, Task[]>(names.map((name) => [name, []]))
          // Any former state, also an impossible one; some tasks had no owner.
          for (const { stage, partitions: count } of stages) {
            for (let partition = 0; partition < count; partition++) {
              const owner = names[choices.next().value % (members + 1)]
              if (owner !== undefined) before.get(owner)!.push({ stage, partition })
            }
          }
          const after = assignTasks(
            stages,
            names.map((name) => member(name, before.get(name))),
          )
          const had = names.map((name) =>
            stages.map(({ stage }) => before.get(name)!.filter((task) => task.stage === stage).length),
          )
          expect(moves(before, after)).toBe(fewestMoves(partitions, had))
        },
      ),
      { seed, numRuns: 300 },
    )
  })
})
