import type { World } from "../world.ts";

const patienceMs = 2000;

/** Says on standard error what is going on when it takes longer than two seconds, and again every ten. */
export async function whileTelling<T>(
  world: Pick<World, "err" | "clock">,
  doing: string,
  work: () => Promise<T>,
): Promise<T> {
  const started = world.clock.monotonicMs();
  const tell = () => world.err.write(`${doing} for ${Math.round((world.clock.monotonicMs() - started) / 1000)} s …\n`);
  const first = setTimeout(tell, patienceMs);
  const again = setInterval(tell, patienceMs * 5);
  try {
    return await work();
  } finally {
    clearTimeout(first);
    clearInterval(again);
  }
}
