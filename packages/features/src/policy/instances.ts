import { refKey, type ObjectRef, type Origin } from "@bpfleet/base";
import { renderHookKey, type FeatureInstance, type ProgramSpec } from "@bpfleet/kernel";
import type { WrittenPolicy } from "./compile/compile-safely.ts";
import { isolationOf } from "./compile/isolation.ts";
import type { PolicyIntent } from "./intent.ts";
import { limitedOf, logsFlows } from "./limit-maps.ts";
import { hostInstance, type HostPlan } from "./plan-host.ts";
import type { PlannedMaps } from "./policy-maps.ts";

export const feature = "policy";
export const nodeInstanceKey = "policy/node";

/** What `counters` and `explain` need of an instance beside its rules. */
export interface PolicyData {
  /**
   * The instance of the node tells of everything, those of objects of their own rules, those of pods of what each of
   * them received and sent: `endpoints` is just that one. `host`: what is judged of the node itself.
   */
  readonly about: "node" | "policy" | "pod" | "host";
  /** Of the node: pods that are judged, and the node itself. Of pods and of the host: that one. Of objects: none. */
  readonly endpoints: readonly PolicyEndpoint[];
  /** Of an object: whom it selects, by their places among the node's `endpoints`, each from … to. */
  readonly places?: readonly PlaceRange[] | undefined;
  /** Of an object that is only tried out: interfaces of those. */
  readonly interfaces?: readonly number[] | undefined;
  readonly tier?: PolicyIntent["tier"] | undefined;
  readonly tableLines?: number | undefined;
  readonly addresses?: number | undefined;
  /** Of the node: what isolates pods, by which `isolatedBy` of endpoints means them. */
  readonly isolating?: readonly Origin[] | undefined;
  /** Of the node: what would isolate pods and is only tried out, by which `triedBy` of endpoints means it. */
  readonly trying?: readonly Origin[] | undefined;
  /** It is only tried out. */
  readonly mode?: "shadow" | undefined;
  /** Of the node: some rule logs. */
  readonly logs?: true | undefined;
  /** Of the node: what lines of the log carry, by the indexes of rules. */
  readonly logValues?: Readonly<Record<number, string>> | undefined;
  /** Of the node: interfaces of pods that may have so many connections open. */
  readonly limited?: readonly number[] | undefined;
  /** Of a pod: how many connections it may have open. */
  readonly mostConnections?: number | undefined;
  /** Of a pod: what it receives and sends is counted. */
  readonly isCounted?: boolean | undefined;
  /** Of the node: the serial of its table, in decimal digits. */
  readonly serial?: string | undefined;
}

/** Both are among them. */
export type PlaceRange = readonly [first: number, last: number];

export interface PolicyEndpoint {
  /** The node itself: `pod` is its name, and there is neither a namespace nor one interface. */
  readonly isNode?: true | undefined;
  readonly namespace: string;
  readonly pod: string;
  readonly interface: string;
  readonly ifindex: number;
  /** Indexes in `isolating`. */
  readonly isolatedBy?: Readonly<Record<"ingress" | "egress", readonly number[]>> | undefined;
  /** Indexes in `trying`. */
  readonly triedBy?: Readonly<Record<"ingress" | "egress", readonly number[]>> | undefined;
  /** Some rule, or what is there without one, is asked in some direction: then its flows are on record. */
  readonly isRestricted?: true | undefined;
}

export function instancesOf(
  compiled: WrittenPolicy,
  { roles }: PlannedMaps,
  programs: readonly ProgramSpec[],
  owner: ObjectRef,
  host: HostPlan,
): readonly FeatureInstance[] {
  const { pods, rules, rulesOf, selection, table, written } = compiled;
  const isolation = isolationOf(compiled);
  const trials = isolationOf(compiled, "shadow");
  const common = { feature, programs: programs.map(({ key }) => key), maps: roles };
  const byPolicy = new Map<string, { readonly intent: PolicyIntent; readonly places: number[] }>();
  const policyOf = selection.statements.map(({ intent }) => {
    const key = refKey(intent.policy.ref);
    const known = byPolicy.get(key) ?? { intent, places: [] };
    byPolicy.set(key, known);
    return known;
  });
  const all: PolicyEndpoint[] = [];
  const bare: PolicyEndpoint[] = [];
  const restricted = new Set(
    table.endpoints.flatMap(({ ifindex, ingress, egress }) => (ingress.length + egress.length > 0 ? [ifindex] : [])),
  );
  for (const { workload, facts, statements, isNode } of pods) {
    if (!facts?.found) continue;
    const { namespace, name } = workload.pod;
    const endpoint = { isNode, namespace, pod: name, interface: facts.interface, ifindex: facts.ifindex };
    all.push({
      ...endpoint,
      isolatedBy: isolation.of.get(facts.ifindex),
      triedBy: trials.of.get(facts.ifindex),
      ...(restricted.has(facts.ifindex) && { isRestricted: true }),
    });
    const place = bare.push(endpoint) - 1;
    for (const policy of new Set(statements.flatMap((number) => policyOf[number] ?? []))) policy.places.push(place);
  }
  const limited = limitedOf(compiled);
  const node: PolicyData = {
    about: "node",
    endpoints: all,
    tableLines: written.lineCount,
    addresses: table.addresses.length,
    isolating: isolation.statements,
    ...(trials.statements.length > 0 && { trying: trials.statements }),
    ...(limited.length > 0 && { limited }),
    ...(logsFlows(compiled) && { logs: true }),
    ...(compiled.logValues.size > 0 && { logValues: Object.fromEntries(compiled.logValues) }),
    serial: String(table.serial),
  };
  return [
    { ...common, owner, key: nodeInstanceKey, rules, data: node },
    ...all
      .filter(isOfNode)
      .map((endpoint) =>
        hostInstance(endpoint, { feature, maps: roles, rules }, owner, host, { isolating: isolation.statements }),
      ),
    ...[...byPolicy].map(([key, { intent, places }]): FeatureInstance => {
      const own = endpointsAt(bare, places);
      const isOfHost = own.some(isOfNode);
      return {
        ...common,
        programs: [...common.programs, ...(isOfHost ? host.programs.map((each) => each.key) : [])],
        owner: intent.policy.ref,
        key: `policy/objects/${key}`,
        rules: rulesOf.get(key) ?? [],
        // Those of pods follow from their places: many policies may select all of thousands.
        hooks: isOfHost ? host.hooks : [],
        data: {
          about: "policy",
          endpoints: [],
          places: rangesOf(places),
          ...(intent.policy.mode === "shadow" && { mode: "shadow", interfaces: own.map(({ ifindex }) => ifindex) }),
        } satisfies PolicyData,
      };
    }),
    ...[...byPolicy].flatMap(([key, { intent, places }]) =>
      (intent.counts !== true && intent.mostConnections === undefined) || intent.policy.mode === "shadow"
        ? []
        : endpointsAt(bare, places).map((endpoint): FeatureInstance => ({
            ...common,
            owner: intent.policy.ref,
            key: `policy/objects/${key}/pods/${endpoint.namespace}/${endpoint.pod}`,
            maps: pick(roles, [
              ...(intent.counts === true ? ["accounts"] : []),
              ...(intent.mostConnections === undefined ? [] : ["connection_counts", "connections_aged"]),
            ]),
            rules: [],
            hooks: hooksOf([endpoint]),
            data: {
              about: "pod",
              endpoints: [endpoint],
              tier: intent.tier,
              mostConnections: intent.mostConnections,
              isCounted: intent.counts,
            } satisfies PolicyData,
          })),
    ),
  ];
}

function endpointsAt(endpoints: readonly PolicyEndpoint[], places: readonly number[]): readonly PolicyEndpoint[] {
  return places.flatMap((place) => endpoints[place] ?? []);
}

/** Of ascending places. */
function rangesOf(places: readonly number[]): readonly PlaceRange[] {
  const ranges: [first: number, last: number][] = [];
  for (const place of places) {
    const last = ranges.at(-1);
    if (last?.[1] === place - 1) last[1] = place;
    else ranges.push([place, place]);
  }
  return ranges;
}

function pick(roles: Readonly<Record<string, string>>, names: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(names.map((name) => [name, roles[name] ?? ""]));
}

function isOfNode({ isNode }: PolicyEndpoint): boolean {
  return isNode === true;
}

function hooksOf(endpoints: readonly PolicyEndpoint[]): readonly string[] {
  const ofPods = endpoints.filter((endpoint) => !isOfNode(endpoint));
  return ofPods.flatMap((endpoint) =>
    (["ingress", "egress"] as const).map((direction) =>
      renderHookKey({ hook: "tc", interface: endpoint.interface, direction }),
    ),
  );
}
