import type { ChainMember, MapIdentity, ObservedHook, ProgramIdentity, XdpMode } from "./port.ts";
import { renderIdentity } from "./identity.ts";
import type { HookSpec, MapEntries, MapSpec, ProgramSpec } from "./specs.ts";

/**
 * Everything that bpfleet ever does to a kernel. Actions carry all they need; `needs` are the ids of
 * actions of the same diff without which this one must not be carried out. Of the sets in `needsOne`, where
 * there are any, it is enough that one was carried out.
 */
export type Action = {
  readonly id: string;
  readonly needs: readonly string[];
  readonly needsOne?: readonly (readonly string[])[];
} & Deed;

export type Deed =
  | { readonly do: "create-map"; readonly spec: MapSpec; readonly identity: MapIdentity }
  | {
      readonly do: "write-map";
      readonly spec: MapSpec;
      readonly identity: MapIdentity;
      readonly puts: MapEntries;
      readonly deletes: MapEntries;
    }
  | {
      readonly do: "put-reference";
      readonly spec: MapSpec;
      readonly identity: MapIdentity;
      readonly slot: number;
      readonly map: MapIdentity;
    }
  | {
      readonly do: "load-program";
      readonly spec: ProgramSpec;
      readonly identity: ProgramIdentity;
      readonly maps: ReadonlyMap<string, MapIdentity>;
      /** It is there, but over maps that are not the plan's: remove it first. */
      readonly replaces: boolean;
    }
  | {
      readonly do: "set-hook";
      readonly spec: HookSpec;
      readonly generation: string;
      readonly members: readonly ChainMember[];
      readonly why: "new" | "changed" | "detached";
      /** The mode that somebody asked for; without it the best that the interface has. */
      readonly xdpMode?: XdpMode | undefined;
    }
  | { readonly do: "pin-map"; readonly spec: MapSpec; readonly identity: MapIdentity; readonly pinPath: string }
  | { readonly do: "carry-counters"; readonly from: readonly CounterPair[]; readonly to: CounterPair }
  | { readonly do: "clear-hook"; readonly key: string; readonly observed: ObservedHook }
  | {
      readonly do: "drop-reference";
      readonly spec: MapSpec;
      readonly identity: MapIdentity;
      readonly slot: number;
    }
  | { readonly do: "unpin-map"; readonly identity: MapIdentity; readonly pinPath: string }
  | { readonly do: "remove-program"; readonly identity: ProgramIdentity }
  | { readonly do: "remove-map"; readonly identity: MapIdentity }
  /** Same members, copied into one program instead of called: faster, and in force already if it fails. */
  | {
      readonly do: "inline-hook";
      readonly spec: HookSpec;
      readonly generation: string;
      readonly members: readonly ChainMember[];
      readonly xdpMode?: XdpMode | undefined;
    };

/** Maps of rule counters that belong together. */
export interface CounterPair {
  readonly hits: MapIdentity;
  readonly base: MapIdentity;
  /** Of `base`; ids grow, so they tell earlier pairs from later ones. `undefined`: not created yet. */
  readonly baseId: number | undefined;
}

export function actionId(deed: Deed): string {
  switch (deed.do) {
    case "set-hook":
    case "inline-hook":
      return `${deed.do} ${deed.spec.key}`;
    case "clear-hook":
      return `${deed.do} ${deed.key}`;
    case "pin-map":
    case "unpin-map":
      return `${deed.do} ${renderIdentity(deed.identity)} ${deed.pinPath}`;
    case "put-reference":
    case "drop-reference":
      return `${deed.do} ${renderIdentity(deed.identity)} ${deed.slot}`;
    case "carry-counters":
      return `${deed.do} ${renderIdentity(deed.to.base)}`;
    default:
      return `${deed.do} ${renderIdentity(deed.identity)}`;
  }
}

/** Takes away something that the plan does not name; nothing but other removals needs it. */
export function isRemoval(action: Action): boolean {
  switch (action.do) {
    case "clear-hook":
    case "drop-reference":
    case "unpin-map":
    case "remove-program":
    case "remove-map":
      return true;
    default:
      return false;
  }
}

/** One line for people, without generations: `attach xdp/eth0: filter/default/a/xdp`. */
export function renderAction(action: Action): string {
  switch (action.do) {
    case "create-map":
      return `create map ${action.spec.key}`;
    case "write-map":
      return `write map ${action.spec.key}: put ${action.puts.count}, delete ${action.deletes.count}`;
    case "put-reference":
      return `put map ${action.map.key} into ${action.spec.key}[${action.slot}]`;
    case "drop-reference":
      return `empty ${action.spec.key}[${action.slot}]`;
    case "load-program":
      return `${action.replaces ? "reload" : "load"} program ${action.spec.key}`;
    case "set-hook": {
      if (action.members.length === 0) return `detach ${action.spec.key}`;
      const verb = { new: "attach", changed: "replace", detached: "attach again" }[action.why];
      return `${verb} ${action.spec.key}: ${action.members.map((member) => member.spec.key).join(", ")}`;
    }
    case "inline-hook":
      return `inline ${action.spec.key}: ${action.members.map((member) => member.spec.key).join(", ")}`;
    case "pin-map":
      return `pin map ${action.spec.key} at ${action.pinPath}`;
    case "carry-counters":
      return `carry counters to ${action.to.base.key}`;
    case "clear-hook":
      return `detach ${action.key}`;
    case "unpin-map":
      return `unpin map ${action.identity.key} from ${action.pinPath}`;
    case "remove-program":
      return `remove program ${action.identity.key}`;
    case "remove-map":
      return `remove map ${action.identity.key}`;
  }
}
