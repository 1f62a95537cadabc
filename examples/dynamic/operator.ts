/**
 * An application that manages its own program: it declares the config, lets so many packets in, then closes the gate
 * by changing the config, and takes it back when it is stopped. `node operator.ts LIMIT`
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { loadedProgram, mapPath, openMap } from "@bpfleet/client";

const run = promisify(execFile);
const ebpfctl = process.env["EBPFCTL"] ?? "ebpfctl";
const limit = BigInt(process.argv[2] ?? "10");
const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());

/** In a cluster this is a patch of the object by the role `bpfd-bpfprogramconfig-editor`. */
async function declare(isClosed: boolean): Promise<void> {
  const config = await readFile(join(import.meta.dirname, "config.yaml"), "utf8");
  const applying = run(ebpfctl, ["apply", "-f", "-"]);
  applying.child.stdin?.end(config.replace("is_closed: false", `is_closed: ${isClosed}`));
  await applying;
}

async function packets(action: number): Promise<bigint> {
  const program = await loadedProgram("gate", { signal: stopping.signal });
  using map = await openMap(mapPath(program, "xdp_stats_map"));
  const perCpu = (await map.get(new Uint8Array([action, 0, 0, 0]))) ?? [];
  return perCpu.reduce((total, value) => total + value.readBigUInt64LE(0), 0n);
}

const [drop, pass] = [1, 2];
await declare(false);
console.log("open");
try {
  while ((await packets(pass)) < limit) await sleep(200, undefined, { signal: stopping.signal });
  await declare(true);
  console.log(`closed after ${await packets(pass)} packets`);
  for (let told = -1n; ; await sleep(200, undefined, { signal: stopping.signal })) {
    const dropped = await packets(drop);
    if (dropped !== told) console.log(`${dropped} packets dropped`);
    told = dropped;
  }
} catch (error) {
  if (!stopping.signal.aborted) throw error;
} finally {
  await run(ebpfctl, ["delete", "bpfprogramconfig", "gate"]);
}
