import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export interface CableEnd {
  /** Path of the network namespace. */
  readonly netns: string;
  /** Of its interface. */
  readonly name: string;
}

/** Joins two network namespaces by interfaces without a header of a link (`tun-cable.c`, compiled into `folder`). */
export async function layTunCable(folder: string, ends: readonly [CableEnd, CableEnd]): Promise<AsyncDisposable> {
  const program = join(folder, "tun-cable");
  execFileSync("cc", ["-O1", "-Wall", "-o", program, join(import.meta.dirname, "tun-cable.c")]);
  const words = ends.flatMap(({ netns, name }) => [netns, name]);
  const child = spawn("setpriv", ["--pdeathsig", "KILL", program, ...words], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(child, "exit");
  const [what] = (await Promise.race([once(child.stdout, "data"), ended])) as readonly unknown[];
  if (!String(what).startsWith("ok")) throw new Error(`lay a cable: it ended (${String(what)})`);
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}
