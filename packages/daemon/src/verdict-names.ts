import type { HookPoint } from "@bpfleet/kernel";

const xdp: Readonly<Record<number, string>> = {
  0: "XDP_ABORTED",
  1: "XDP_DROP",
  2: "XDP_PASS",
  3: "XDP_TX",
  4: "XDP_REDIRECT",
};
const tc: Readonly<Record<number, string>> = {
  [-1]: "TC_ACT_UNSPEC",
  0: "TC_ACT_OK",
  1: "TC_ACT_RECLASSIFY",
  2: "TC_ACT_SHOT",
  3: "TC_ACT_PIPE",
  4: "TC_ACT_STOLEN",
  5: "TC_ACT_QUEUED",
  6: "TC_ACT_REPEAT",
  7: "TC_ACT_REDIRECT",
  8: "TC_ACT_TRAP",
};
const droppingXdp = new Set([0, 1]);
const droppingTc = new Set([2, 4, 5, 8]);

/** The kernel's word for a verdict at a hook. */
export function verdictName(hook: HookPoint["hook"], verdict: number): string {
  if (hook === "cgroup") return (verdict & 1) === 1 ? "ALLOW" : "DENY";
  if (hook !== "xdp" && hook !== "tc") return `${verdict}`;
  return (hook === "xdp" ? xdp : tc)[verdict] ?? `${verdict}`;
}

/** Whether the packet goes on, here or elsewhere. */
export function letsPass(hook: HookPoint["hook"], verdict: number): boolean {
  if (hook === "cgroup") return (verdict & 1) === 1;
  if (hook !== "xdp" && hook !== "tc") return true;
  return !(hook === "xdp" ? droppingXdp : droppingTc).has(verdict);
}
