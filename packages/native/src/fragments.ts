import { KernelError } from "@bpfleet/base";
import type { ChainMember } from "@bpfleet/kernel";
import { BpfError } from "./binding.ts";
import { refusal } from "./kernel-error.ts";

/** BPF_F_XDP_HAS_FRAGS: the program takes packets in fragments. */
export const hasFragsFlag = 1 << 5;

/** Drivers refuse programs that do not know of fragments where packets are larger than a page. */
export function sayingWhoIsSmall(error: unknown, what: string, members: readonly ChainMember[]): unknown {
  const isMtu =
    (error instanceof BpfError && error.errnoName === "ERANGE") ||
    (error instanceof KernelError && error.errno === "ERANGE");
  if (!isMtu || members.length === 0) return error;
  const names = members.map(({ spec }) => spec.entry).join(", ");
  const said = `the MTU is too large for XDP in the driver: packets come in fragments, which ${names} would take from a section xdp.frags`;
  return refusal(what, `${said} (ERANGE)`, "not-supported", "BPF_LINK_CREATE");
}
