import type { HookPoint, NodeFacts, PlanProblem } from "@bpfleet/kernel";
import { placePods } from "../pod-cgroups.ts";
import type { filterPrograms } from "./generated/filter.ts";
import type { FilterIntent, PodCgroup } from "./intent.ts";

/** Beyond it packets may come in fragments, which costs a call of the kernel for each packet. */
const usualMtu = 1500;

export type FilterEntry = keyof typeof filterPrograms;

/** One program with counters of its own, and where it is attached. */
export interface Place {
  /** Last part of the keys of instance and program; `""` where an object has only one. */
  readonly suffix: string;
  readonly entry: FilterEntry;
  readonly direction: "ingress" | "egress";
  /** Empty while the interface or the pods are not there: then the program is only loaded. */
  readonly points: readonly HookPoint[];
  readonly tracker: HookPoint | undefined;
  /** The device has no Ethernet header. */
  readonly startsAtNetwork: boolean;
  /** XDP on an interface whose packets may come in fragments. */
  readonly takesFragments: boolean;
  readonly interface: string | undefined;
  /** Where these run; `undefined` on an interface. */
  readonly pods: readonly PodCgroup[] | undefined;
}

export interface Places {
  readonly places: readonly Place[];
  readonly problems: readonly PlanProblem[];
}

/** `programKey` gives the key of the program at a place, which names it on a cgroup. */
export function findPlaces(intent: FilterIntent, facts: NodeFacts, programKey: (suffix: string) => string): Places {
  const { at } = intent;
  return at.hook === "cgroup" ? findCgroups(intent, at, facts, programKey) : findInterface(intent, at, facts);
}

type InterfacePlace = Exclude<FilterIntent["at"], { hook: "cgroup" }>;
type CgroupPlace = Extract<FilterIntent["at"], { hook: "cgroup" }>;

function findInterface(intent: FilterIntent, at: InterfacePlace, facts: NodeFacts): Places {
  const found = facts.interfaces.find(({ name }) => name === at.interface);
  const point: HookPoint =
    at.hook === "xdp"
      ? { hook: "xdp", interface: at.interface }
      : { hook: "tc", interface: at.interface, direction: at.hook === "tc-ingress" ? "ingress" : "egress" };
  const tracks = intent.isStateful && intent.rateLimit !== undefined && at.hook !== "tc-egress";
  const place: Place = {
    suffix: "",
    entry: ({ xdp: "filter_xdp", "tc-ingress": "filter_ingress", "tc-egress": "filter_egress" } as const)[at.hook],
    direction: at.hook === "tc-egress" ? "egress" : "ingress",
    points: found ? [point] : [],
    tracker: tracks ? { hook: "tc", interface: at.interface, direction: "egress" } : undefined,
    startsAtNetwork: found !== undefined && found.mac === "" && found.name !== "lo",
    takesFragments: at.hook === "xdp" && (found?.mtu ?? 0) > usualMtu && facts.kernel.xdpFrags?.has === true,
    interface: at.interface,
    pods: undefined,
  };
  const problems: PlanProblem[] = found ? [] : [missingInterface(intent, at.interface)];
  return { places: [place], problems };
}

function missingInterface(intent: FilterIntent, name: string): PlanProblem {
  return {
    origin: intent.placeOrigin ?? intent.origin,
    reason: "InterfaceNotFound",
    message: `attach to ${name}: there is no interface of this name; it is attached as soon as the interface appears`,
    severity: "waiting",
  };
}

/** Pods share a program per direction, unless each is to be counted, or has a limit of its own. */
function findCgroups(
  intent: FilterIntent,
  at: CgroupPlace,
  facts: NodeFacts,
  programKey: (suffix: string) => string,
): Places {
  const { ready, problems } = placePods(at.pods, intent.origin, facts);
  if (!facts.kernel.cgroup2.has) return { places: [], problems };
  const places = at.directions.flatMap((direction) => {
    const groups =
      intent.accounting || intent.rateLimit
        ? ready.map((pod) => ({ suffix: `/${direction}/${pod.namespace}/${pod.pod}`, pods: [pod] }))
        : [{ suffix: `/${direction}`, pods: ready }];
    return groups.map(({ suffix, pods }): Place => ({
      suffix,
      entry: direction === "ingress" ? "filter_cg_in" : "filter_cg_out",
      direction,
      points: distinctPaths(pods, facts).map((path) => ({
        hook: "cgroup",
        path,
        attach: direction,
        member: programKey(suffix),
      })),
      tracker: undefined,
      startsAtNetwork: false,
      takesFragments: false,
      interface: undefined,
      pods,
    }));
  });
  return { places, problems };
}

/** One cgroup can be written in several ways, and two pods may name the same. */
function distinctPaths(pods: readonly PodCgroup[], facts: NodeFacts): readonly string[] {
  return [...new Map(pods.map(({ path }) => [facts.cgroups[path], path])).values()];
}
