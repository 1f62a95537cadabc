import type { ObjectRef, Origin } from "@bpfleet/base";
import type {
  FeatureInstance,
  HookMember,
  HookPoint,
  MapEntries,
  MapSpec,
  NodeFacts,
  PlanProblem,
  ProgramSpec,
  RuleRef,
} from "@bpfleet/kernel";

/** A wish for one feature, free of the kind it came from. Each feature exports its own shape of it. */
export interface Intent {
  readonly feature: string;
  /** The object as a whole. */
  readonly origin: Origin;
  /** It says what there is, and asks for nothing: nobody has to serve it. */
  readonly isFact?: true | undefined;
}

/** What a feature makes of all its intents on this node. */
export interface FeaturePlan {
  readonly maps: readonly MapSpec[];
  readonly programs: readonly ProgramSpec[];
  readonly attachments: readonly Attachment[];
  readonly instances: readonly FeatureInstance[];
  readonly problems: readonly PlanProblem[];
  /** It would rather go on with what it had in the plan before, which the facts do not tell. */
  readonly wantsEarlier?: true | undefined;
}

type Parts = Omit<FeaturePlan, "wantsEarlier">;

/** A FeaturePlan while it is being made. */
export type Draft = { -readonly [Part in keyof Parts]: Parts[Part][number][] } & {
  wantsEarlier?: FeaturePlan["wantsEarlier"];
};

export function startDraft(): Draft {
  return { maps: [], programs: [], attachments: [], instances: [], problems: [] };
}

export interface Attachment {
  readonly point: HookPoint;
  readonly member: HookMember;
}

export interface Counter {
  readonly packets: bigint;
  readonly bytes: bigint;
}

export interface RuleCounter {
  readonly rule: RuleRef;
  readonly counter: Counter;
  /** Of features that remember rules, in milliseconds since 1970: since when it is counted. */
  readonly sinceMs?: number | undefined;
  /** When it was last seen to have counted; left out where it never was. */
  readonly lastHitMs?: number | undefined;
}

/** Counters of one instance, read back. Names are snake_case: they become Prometheus labels. */
export interface InstanceCounters {
  readonly owner: ObjectRef;
  /**
   * What tells the instances of one object apart: `pod` with its `pod_namespace`, `direction` (`ingress`,
   * `egress`). Names are snake_case: they become Prometheus labels.
   */
  readonly labels?: Readonly<Record<string, string>> | undefined;
  /** Reason name → counter; the reasons whose verdict is pass are in `passReasons` of the feature. */
  readonly reasons: Readonly<Record<string, Counter>>;
  readonly rules: readonly RuleCounter[];
  /** Further numbers: entries in use, tracked flows, … Those of an object's instances add up. */
  readonly gauges: Readonly<Record<string, number | bigint>>;
}

/** What a program decided about one packet, in words. */
export interface Decision {
  readonly owner: ObjectRef;
  readonly verdict: "pass" | "drop";
  /** snake_case reason name, as in the counters. */
  readonly reason: string;
  readonly rule?: RuleRef | undefined;
  /** What had to allow it, and does not; where no rule decided. */
  readonly isolatedBy?: readonly Origin[] | undefined;
  /** Whose address policies judged, where they did: behind a Service the back end's. */
  readonly peer?: string | undefined;
  /** One sentence: `dropped: source 10.10.10.7 is in 10.10.10.0/24`. */
  readonly text: string;
}

/** Contents of maps by role (FeatureInstance.maps), as the kernel has them. */
export type MapReadings = ReadonlyMap<string, MapEntries>;

/**
 * What features remember from one plan to the next, each under its name. Whoever plans the same node again and again
 * keeps one; plans are the same without it, and take longer.
 */
export type PlanMemory = Map<string, unknown>;

export interface Feature<I extends Intent = Intent> {
  readonly name: string;
  plan(intents: readonly I[], facts: NodeFacts, memory?: PlanMemory): FeaturePlan;
  /** Reasons that let a packet pass; all others drop it. */
  readonly passReasons: readonly string[];
  /** Roles of the maps that `counters` wants to see. */
  readonly counterRoles: readonly string[];
  /** Roles of maps whose memory is told as gauge `map_memory_bytes`. */
  readonly measuredRoles?: readonly string[] | undefined;
  /** What its rules counted is remembered when their counters go: roles of the maps that tell it. */
  readonly rememberedRoles?: readonly string[] | undefined;
  counters(instance: FeatureInstance, readings: MapReadings): InstanceCounters;
  /** Absent where programs keep everything right by themselves. */
  readonly upkeep?: Upkeep | undefined;
  /** Absent for features that judge no packets. */
  readonly explanations?: Explanations | undefined;
}

/** What only user space can put right in maps that programs write. */
export interface Upkeep {
  readonly everyMs: number;
  isNeeded(instance: FeatureInstance): boolean;
  /** `nowNs` by the monotonic clock. The edits are made in their order. */
  tend(instance: FeatureInstance, read: ReadRole, nowNs: bigint): Promise<readonly MapEdit[]>;
}

/** Contents of a map of the instance as they are now; `undefined` where there is none. */
export type ReadRole = (role: string) => Promise<MapEntries | undefined>;

export interface MapEdit {
  readonly role: string;
  readonly puts: MapEntries;
  /** Keys alone. */
  readonly deletes: MapEntries;
}

/** How the verdict of a feature's programs over one packet is found without leaving a trace. */
export interface Explanations {
  /** Globals that make a program a dry-run twin, and the map in which the twin leaves its verdict. */
  readonly twin: { readonly globals: ProgramSpec["globals"]; readonly scratch: string };
  /** Roles of the maps that `explain` wants to see beside the scratch bytes. */
  readonly roles: readonly string[];
  /** Decodes what a twin left in its scratch map, or an event's verdict part. */
  explain(instance: FeatureInstance, scratch: Uint8Array, readings: MapReadings, seen?: SeenPacket): Decision;
}

/** The packet of which a program decided, as far as it is known. */
export interface SeenPacket {
  readonly ifindex: number | undefined;
  readonly head: Uint8Array;
  readonly layer: "ethernet" | "network";
  /** The time now, by the monotonic clock. */
  readonly nowNs?: bigint | undefined;
}
