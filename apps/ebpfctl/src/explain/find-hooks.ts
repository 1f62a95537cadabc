import type { ItemResult } from "@bpfleet/kernel";
import { Failure } from "../failure.ts";

export interface HookWish {
  readonly interface: string | undefined;
  readonly direction: "ingress" | "egress";
  readonly hook: string | undefined;
}

export interface FoundHooks {
  /** In the order in which a packet meets them. */
  readonly hooks: readonly string[];
  /** `undefined` for cgroups. */
  readonly interface: string | undefined;
}

/** `present`: interfaces that the node has. */
export function findHooks(items: readonly ItemResult[], wish: HookWish, present: readonly string[]): FoundHooks {
  const keys = items.filter(({ item }) => item === "hook").map(({ key }) => key);
  const offered = keys.length === 0 ? "no object attaches a program" : `there is ${keys.map(withoutMember).join(", ")}`;
  if (wish.hook !== undefined) {
    if (!keys.some((key) => key === wish.hook || withoutMember(key) === wish.hook))
      throw new Failure(`explain a packet at ${wish.hook}: nothing of ours is there; ${offered}`);
    return { hooks: [wish.hook], interface: interfaceOf(wish.hook) };
  }
  const interfaces = [...new Set(keys.flatMap((key) => interfaceOf(key) ?? []))];
  const name = wish.interface ?? (interfaces.length === 1 ? interfaces[0] : undefined);
  if (name === undefined) throw new Failure(`explain a packet: say where with --interface or --hook; ${offered}`);
  const way = wish.direction === "ingress" ? [`xdp/${name}`, `tc-ingress/${name}`] : [`tc-egress/${name}`];
  const met = way.filter((key) => keys.includes(key));
  if (met.length === 0 && !present.includes(name))
    throw new Failure(`explain a packet at ${name}: this node has no such interface; ${offered}`);
  if (met.length === 0)
    throw new Failure(
      `explain a packet at ${name}, ${wish.direction}: nothing of ours is there, so it passes; ${offered}`,
    );
  return { hooks: met, interface: name };
}

function interfaceOf(key: string): string | undefined {
  return /^(?:xdp|tc-ingress|tc-egress)\/(.+)$/.exec(key)?.[1];
}

function withoutMember(key: string): string {
  return key.startsWith("cgroup-") ? key.replace(/#[^#]*$/, "") : key;
}
