import assert from "node:assert/strict";
import { join } from "node:path";
import { LineProcess } from "@bpfleet/daemon/testing";
import type { HoldAnswer, HoldCommand } from "./hold-connections.ts";
import type { RigPod } from "./pod-network.ts";
import type { PolicyRig } from "./policy-rig.ts";

const script = join(import.meta.dirname, "hold-connections.ts");
const streamMs = 6000;
const tries = 5;
/** More than the kernel joins to one packet by default, and what is passed by other processors at that moment. */
const spareBytes = 2 * 65_536;

/** `hold-connections.ts` in the namespace of a pod. */
export class Holder extends LineProcess {
  constructor(rig: PolicyRig, pod: RigPod) {
    super(rig.network.netnsOf(pod), script, []);
  }

  async ask(command: HoldCommand): Promise<HoldAnswer> {
    this.write(JSON.stringify(command));
    return JSON.parse((await this.read()) ?? assert.fail(this.log)) as HoldAnswer;
  }
}

export interface Stream {
  readonly from: Holder;
  readonly to: Holder;
  readonly host: string;
  readonly port: number;
}

/** Bits each second, once it flows; `mostBytes` is how many a limit lets pass in so many seconds. */
export async function measureStream(stream: Stream, mostBytes?: (seconds: number) => number): Promise<number> {
  const { from, to, host, port } = stream;
  const begunMs = performance.now();
  await from.ask({ stream: { host, port, ms: streamMs } });
  const { bytes, ms, allBytes } = await to.ask({});
  const seconds = (performance.now() - begunMs) / 1000;
  const most = mostBytes?.(seconds) ?? Infinity;
  assert.ok(allBytes <= most, `${allBytes} bytes in ${seconds} s, ${most} at most`);
  return ms === 0 ? 0 : (bytes * 8) / (ms / 1000);
}

/**
 * That never more than the rate passes, and that TCP reaches it: once in some tries, since a busy machine makes it back
 * off, and what has a wrong rate is too slow in each of them.
 */
export async function checkRate(stream: Stream, bitsPerSecond: number, burstBytes: number): Promise<readonly number[]> {
  const shares: number[] = [];
  const mostBytes = (seconds: number): number => (bitsPerSecond / 8) * seconds + burstBytes + spareBytes;
  while (shares.length < tries && !shares.some((share) => share > 0.8))
    shares.push((await measureStream(stream, mostBytes)) / bitsPerSecond);
  assert.ok(Math.max(...shares) > 0.8, `${shares.map((share) => share.toFixed(2)).join()} of the rate`);
  return shares;
}
