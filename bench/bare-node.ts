import { spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { memoryOf, type Memory } from "../tools/memory-of.ts";

/** Milliseconds that Node takes to start and end; `words` start it. */
export async function startBareNode([command = "", ...args]: readonly string[] = [process.execPath]): Promise<number> {
  const started = performance.now();
  await once(spawn(command, [...args, "-e", "0"], { stdio: "ignore" }), "exit");
  return performance.now() - started;
}

/** Of `count` Node processes at once that do nothing, in MiB. */
export async function bareNodeMemory(
  [command = "", ...args]: readonly string[] = [process.execPath],
  count = 1,
): Promise<Memory> {
  const idle = ["-e", "process.stdout.write('up'); setInterval(() => {}, 1e6)"];
  const children = Array.from({ length: count }, () =>
    spawn("setpriv", ["--pdeathsig", "KILL", command, ...args, ...idle], { stdio: ["ignore", "pipe", "ignore"] }),
  );
  try {
    await Promise.all(children.map((child) => once(child.stdout, "data")));
    await sleep(1000);
    const each = children.map(({ pid = 0 }) => memoryOf(pid));
    const sum = (field: keyof Memory): number => each.reduce((all, one) => all + one[field], 0);
    return { pssMib: sum("pssMib"), rssMib: sum("rssMib") };
  } finally {
    for (const child of children) child.kill("SIGKILL");
  }
}
