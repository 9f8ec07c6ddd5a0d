/** CPU of this process, kernel and threads of V8 included, while some work runs. Called by the processes that measure themselves. */

export async function cpuSecondsOf(work: () => Promise<unknown>): Promise<number> {
  const before = process.cpuUsage()
  await work()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000_000
}
