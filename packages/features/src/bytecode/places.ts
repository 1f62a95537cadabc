import {
  cgroupAttaches,
  cgroupProgramTypes,
  type CgroupAttach,
  type HookPoint,
  type NodeFacts,
  type PlanProblem,
  type ProgramType,
} from "@bpfleet/kernel";
import { placePods } from "../pod-cgroups.ts";
import type { BytecodeIntent, BytecodePlace, InterfaceWish } from "./intent.ts";

/** One program of an intent, with maps of its own, and where it is attached now. */
export interface Spot {
  /** The attach point without what may change while it stays the same: it goes into the UUID. */
  readonly name: string;
  readonly interface?: string | undefined;
  /** Empty while the place is not there: then the program is only loaded. */
  readonly points: (program: string) => readonly HookPoint[];
}

export interface Spots {
  readonly spots: readonly Spot[];
  readonly problems: readonly PlanProblem[];
}

/** What programs at a place must be; `undefined` for hooks that no kernel has. */
export function programTypeAt(at: BytecodePlace): ProgramType | undefined {
  switch (at.hook) {
    case "xdp":
      return "xdp";
    case "tc":
      return "sched_cls";
    case "tracepoint":
      return "tracepoint";
    case "raw_tracepoint":
      return "raw_tracepoint";
    case "cgroup":
      return isCgroupAttach(at.attach) ? cgroupProgramTypes[at.attach] : undefined;
    case "kprobe":
    case "kretprobe":
    case "uprobe":
    case "uretprobe":
      return "kprobe";
    case "fentry":
    case "fexit":
      return "tracing";
  }
}

export function findSpots(intent: BytecodeIntent, facts: NodeFacts): Spots {
  const { at } = intent;
  switch (at.hook) {
    case "xdp":
    case "tc":
      return onInterfaces(intent, at, facts);
    case "cgroup":
      return onCgroups(intent, at, facts);
    case "tracepoint":
    case "raw_tracepoint":
      return only(`${at.hook} ${at.name}`, (member) => ({ ...at, member }));
    case "kprobe":
    case "kretprobe":
      return only(`${at.hook} ${at.function}+${at.offset}`, (member) => ({ ...at, member }));
    case "uprobe":
    case "uretprobe":
      return only(`${at.hook} ${at.binary}:${at.function}+${at.offset}`, (member) => ({ ...at, member }));
    case "fentry":
    case "fexit":
      return only(`${at.hook} ${at.function}`, (member) => ({ ...at, member }));
  }
}

function only(name: string, point: (member: string) => HookPoint): Spots {
  return { spots: [{ name, points: (program) => [point(program)] }], problems: [] };
}

function onInterfaces(
  { origin }: BytecodeIntent,
  at: Extract<BytecodePlace, { hook: "xdp" | "tc" }>,
  facts: NodeFacts,
): Spots {
  const names = namesOf(at.interfaces, facts);
  if (names.length === 0) {
    const message =
      "find the node's primary interface: none holds the node's address, and none has a default route; it is attached as soon as one does";
    return { spots: [], problems: [{ origin, reason: "InterfaceNotFound", message, severity: "waiting" }] };
  }
  const spots = names.map((name): Spot => {
    const isThere = facts.interfaces.some((each) => each.name === name);
    const point: HookPoint =
      at.hook === "xdp" ? { hook: "xdp", interface: name } : { hook: "tc", interface: name, direction: at.direction };
    const hook = at.hook === "xdp" ? "xdp" : `tc ${at.direction}`;
    return { name: `${hook} ${name}`, interface: name, points: () => (isThere ? [point] : []) };
  });
  const missing = names.filter((name) => !facts.interfaces.some((each) => each.name === name));
  const problems = missing.map((name): PlanProblem => ({
    origin,
    reason: "InterfaceNotFound",
    message: `Invalid Interface: attach to ${name}: there is no interface of this name; it is attached as soon as it appears`,
    severity: "waiting",
  }));
  return { spots, problems };
}

function namesOf(wish: InterfaceWish, { interfaces }: NodeFacts): readonly string[] {
  if ("names" in wish) return [...new Set(wish.names)];
  const holding = interfaces.find(({ addresses }) =>
    addresses.some((address) => wish.addresses.includes(address.split("/")[0] ?? "")),
  );
  const primary = holding ?? interfaces.find((each) => each.hasDefaultRoute);
  return primary === undefined ? [] : [primary.name];
}

function onCgroups(
  { origin }: BytecodeIntent,
  { attach, pods }: Extract<BytecodePlace, { hook: "cgroup" }>,
  facts: NodeFacts,
): Spots {
  if (!isCgroupAttach(attach)) return { spots: [], problems: [] };
  const { ready, problems } = placePods(pods, origin, facts);
  if (!facts.kernel.cgroup2.has) return { spots: [], problems };
  const paths = [...new Map(ready.map(({ path }) => [facts.cgroups[path], path])).values()];
  const points = (member: string): HookPoint[] =>
    paths.map((path): HookPoint => ({ hook: "cgroup", path, attach, member }));
  return { spots: [{ name: `cgroup ${attach}`, points }], problems };
}

function isCgroupAttach(text: string): text is CgroupAttach {
  return cgroupAttaches.some((each) => each === text);
}
