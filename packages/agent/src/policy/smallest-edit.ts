import { refKey, renderRef, type ObjectRef, type Position } from "@bpfleet/base";
import {
  judgeTable,
  nodeInstanceKey,
  policy,
  type Intent,
  type Opening,
  type PolicyData,
  type PolicyEndpoint,
  type PolicyFeatureIntent,
  type TableQuestion,
} from "@bpfleet/features";
import type { NodeFacts, RuleRef } from "@bpfleet/kernel";
import {
  policyEdits,
  parsePrefix,
  renderAddress,
  renderPath,
  renderYaml,
  type EditPeer,
  type EditTraffic,
  type Kind,
  type PolicyEdit,
} from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject } from "../compile.ts";
import { judgedPacket, renderPlace, type BehindService } from "./behind-service.ts";
import { likelyAddresses, likelyPorts } from "./likely-others.ts";
import { policyIntents, type KnownPeer } from "./who-is.ts";

/** A packet that an interface was asked about. */
export interface DroppedPacket {
  /** Of the pod's interface, or what stands for the node itself. */
  readonly ifindex: number;
  /** As the pod, or the node, sees it. */
  readonly direction: "ingress" | "egress";
  readonly opening: Opening;
  /** Whose address it was judged by, as text, where the kernel was asked. */
  readonly judgedPeer?: string | undefined;
  /** The node itself is asked. */
  readonly isOfNode?: boolean | undefined;
}

/** At interfaces that are no pod's, the node itself is asked, for whom directions are the other way round. */
export function packetAt(packet: DroppedPacket, endpoints: readonly PolicyEndpoint[] = []): DroppedPacket {
  const node = endpoints.find(({ isNode }) => isNode === true);
  if (node === undefined || endpoints.some(({ ifindex }) => ifindex === packet.ifindex)) return packet;
  return {
    ...packet,
    isOfNode: true,
    ifindex: node.ifindex,
    direction: packet.direction === "ingress" ? "egress" : "ingress",
  };
}

/** What would let a dropped packet through; or why nothing is proposed. */
export type EditAdvice =
  | {
      readonly found: true;
      readonly object: ObjectRef;
      /** JSON pointer of the list that grows, and where it is written. */
      readonly path: string;
      readonly position?: Position | undefined;
      /** What is added at its end, as YAML. */
      readonly yaml: string;
      /** The same as a JSON patch. */
      readonly patch: readonly { readonly op: "add"; readonly path: string; readonly value: unknown }[];
      /** What else would pass that is dropped now; nothing that is known where it is empty. */
      readonly alsoAllows: readonly string[];
      /** The edit is about this back end only. */
      readonly behind?: BehindService | undefined;
      /** Of its other back ends those that are dropped still; absent where there is no other one. */
      readonly otherBackendsDropped?: readonly string[] | undefined;
    }
  | { readonly found: false; readonly why: string };

export interface EditWorld {
  readonly objects: readonly AcceptedObject[];
  readonly kinds: readonly Kind[];
  readonly facts: NodeFacts;
  readonly who: ReadonlyMap<string, KnownPeer>;
  /** All of what these objects ask for. */
  lower(objects: readonly AcceptedObject[]): readonly Intent[];
}

/** So many candidates are compiled; they are few but for policies with hundreds of rules. */
const mostTried = 64;
/** Others who are asked whether they would be let in too. */
const mostAsked = 256;
const protocolNumbers = { 6: "TCP", 17: "UDP", 132: "SCTP" } as const;
/** Ports that nobody is likely to name, to see whether all are open. */
const strangePorts = [1, 49_151, 65_535];

interface Judged {
  readonly verdict: "pass" | "drop";
  readonly reason: string;
  readonly rule: RuleRef | undefined;
}

/** The policies of a node, compiled, and asked. */
class Table {
  readonly #lines: Uint8Array | undefined;
  readonly #rules: readonly RuleRef[];
  readonly isolating: readonly { readonly object: ObjectRef; readonly path: string }[];

  constructor(intents: readonly Intent[], facts: NodeFacts, { ifindex, direction }: DroppedPacket) {
    const plan = policy.plan(policyIntents(intents), facts);
    const contents = plan.maps.find(({ name }) => name === "lines")?.contents;
    const node = plan.instances.find(({ key }) => key === nodeInstanceKey);
    this.#lines = contents?.kind === "sealed" ? contents.entries.values : undefined;
    this.#rules = node?.rules ?? [];
    const data = node?.data as PolicyData | undefined;
    this.isolating = data === undefined ? [] : isolatingOf(data, ifindex, direction);
  }

  judge(question: TableQuestion): Judged {
    if (this.#lines === undefined) return { verdict: "pass", reason: "not_judged", rule: undefined };
    const { verdict, reason, rule } = judgeTable(this.#lines, question);
    return { verdict, reason, rule: this.#rules.find(({ index }) => index === rule) };
  }
}

function isolatingOf(data: PolicyData, ifindex: number, direction: "ingress" | "egress"): Table["isolating"] {
  const own = data.endpoints.filter((each) => each.ifindex === ifindex);
  const places = new Set(own.flatMap(({ isolatedBy }) => isolatedBy?.[direction] ?? []));
  return [...places].flatMap((at) => data.isolating?.[at] ?? []);
}

/** Each candidate is compiled with all that is declared, and judged, before it is proposed. */
export function findSmallestEdit(dropped: DroppedPacket, world: EditWorld): EditAdvice {
  const { objects, facts } = world;
  const intents = world.lower(objects);
  const sent = judgedPacket(dropped, policyIntents(intents), facts);
  if ("why" in sent) return { found: false, why: sent.why };
  const { packet, behind, others } = sent;
  const carries = trafficOf(packet.opening);
  const question = questionOf(packet);
  const now = new Table(intents, facts, packet);
  const judged = now.judge(question);
  const no = (why: string): EditAdvice => ({ found: false, why });
  if (judged.verdict === "pass")
    return no("the policies would let it open a connection; what drops it is not that no rule allows it");
  if (judged.rule !== undefined)
    return no(
      `${renderRef(judged.rule.origin.object)} ${renderPath(judged.rule.origin.path)} denies it, whatever others allow`,
    );
  if (carries === undefined) return no("rules name TCP, UDP and SCTP ports and ICMP types, and this is something else");
  const unserved = unservedThatMeansIt(packet, world);
  if (unserved !== undefined) return no(unserved);
  const peer = peerOf(packet, world.who);
  const byRef = new Map(objects.map((object) => [refKey(object.parsed.ref), object]));
  const candidates = now.isolating.flatMap(({ object, path }) => {
    const accepted = byRef.get(refKey(object));
    if (accepted === undefined) return [];
    const wish = { direction: packet.direction, peer, carries };
    return policyEdits(accepted.parsed.object, path, wish).map((edit) => ({ accepted, edit }));
  });
  const tried = candidates.slice(0, mostTried).flatMap(({ accepted, edit }) => {
    const edited = accept(accepted, edit, world.kinds);
    if (edited === undefined) return [];
    const table = new Table(world.lower(objects.map((each) => (each === accepted ? edited : each))), facts, packet);
    if (table.judge(question).verdict !== "pass") return [];
    const also = allowedBesides(now, table, packet, world.who, edit.object);
    return [{ accepted, edit, table, also, yaml: renderYaml([edit.value]) }];
  });
  const [best] = tried.toSorted(
    (a, b) => a.also.length - b.also.length || a.yaml.split("\n").length - b.yaml.split("\n").length,
  );
  if (best === undefined) {
    const names = [...new Set(now.isolating.map(({ object }) => renderRef(object)))].join(", ");
    return no(
      candidates.length === 0
        ? `${names === "" ? "nothing that is declared" : names} keeps it from passing, and no addition of one port, peer or rule is about such packets`
        : `no addition of one port, peer or rule to ${names} lets it through by itself`,
    );
  }
  const { accepted, edit, table, yaml, also } = best;
  const { ref, positionOf } = accepted.parsed;
  return {
    found: true,
    object: ref,
    path: edit.path,
    position: positionOf(edit.path) ?? positionOf(edit.path.slice(0, edit.path.lastIndexOf("/"))),
    yaml,
    patch: [patchOf(accepted, edit)],
    alsoAllows: also,
    ...(behind !== undefined && { behind }),
    ...(others.length > 0 && { otherBackendsDropped: droppedOf(others, table, packet) }),
  };
}

function droppedOf(openings: readonly Opening[], table: Table, packet: DroppedPacket): readonly string[] {
  return openings
    .filter((opening) => table.judge(questionOf({ ...packet, opening })).verdict === "drop")
    .map(({ destination, port }) => renderPlace(destination, port));
}

function accept(accepted: AcceptedObject, { object }: PolicyEdit, kinds: readonly Kind[]): AcceptedObject | undefined {
  const edited = acceptObject({ ...accepted.stored, object }, kinds);
  return isAccepted(edited) ? edited : undefined;
}

function patchOf(accepted: AcceptedObject, { path, value }: PolicyEdit): { op: "add"; path: string; value: unknown } {
  const list = path
    .slice(1)
    .split("/")
    .reduce<unknown>((at, name) => (at as Record<string, unknown> | undefined)?.[name], accepted.parsed.object);
  return Array.isArray(list) ? { op: "add", path: `${path}/-`, value } : { op: "add", path, value: [value] };
}

function questionOf({ ifindex, direction, opening }: DroppedPacket): TableQuestion {
  const peer = direction === "ingress" ? opening.source : opening.destination;
  return { ifindex, direction, peer: mapped(peer), protocol: opening.protocol, port: opening.port ?? 0 };
}

function mapped(bytes: Uint8Array): Uint8Array {
  if (bytes.length !== 4) return bytes;
  return Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...bytes);
}

function trafficOf({ protocol, port }: Opening): EditTraffic | undefined {
  if (port === undefined) return undefined;
  if (protocol === 1 || protocol === 58) return { protocol: "ICMP", family: protocol === 1 ? 4 : 6, type: port };
  const name = protocolNumbers[protocol as keyof typeof protocolNumbers] as "TCP" | "UDP" | "SCTP" | undefined;
  return name === undefined ? undefined : { protocol: name, port };
}

function peerOf({ direction, opening }: DroppedPacket, who: EditWorld["who"]): EditPeer {
  const bytes = direction === "ingress" ? opening.source : opening.destination;
  const text = renderAddress(bytes);
  const known = who.get(text);
  const cidr = `${text}/${bytes.length * 8}`;
  if (known?.is === "pod") return { is: "pod", namespace: known.namespace, labels: known.labels, cidr };
  return { is: known?.is ?? "world", cidr };
}

/** A rule that would allow it, were all of it served. */
function unservedThatMeansIt(packet: DroppedPacket, world: EditWorld): string | undefined {
  const { objects, facts } = world;
  const intents = policyIntents(world.lower(objects));
  const withoutLimits = intents.map((intent): PolicyFeatureIntent => {
    if (intent.about !== "policy") return intent;
    const statements = intent.policy.statements.map((statement) => ({
      ...statement,
      ingress: { ...statement.ingress, allow: statement.ingress.allow.map(asIfServed) },
      egress: { ...statement.egress, allow: statement.egress.allow.map(asIfServed) },
    }));
    return { ...intent, policy: { ...intent.policy, statements } };
  });
  const { verdict, rule } = new Table(withoutLimits, facts, packet).judge(questionOf(packet));
  if (verdict === "drop" || rule === undefined) return undefined;
  const rules = intents.flatMap((intent) =>
    intent.about === "policy"
      ? intent.policy.statements.flatMap(({ ingress, egress }) => [...ingress.allow, ...egress.allow])
      : [],
  );
  const found = rules.find(
    ({ origin, unserved }) =>
      unserved.length > 0 && origin.path === rule.origin.path && refKey(origin.object) === refKey(rule.origin.object),
  );
  if (found === undefined) return undefined;
  const what = found.unserved.map((each) => each.what).join(", ");
  return `${renderRef(rule.origin.object)} ${renderPath(rule.origin.path)} means it, and lets nothing through since ${what} cannot be served`;
}

type AllowRule = Extract<
  PolicyFeatureIntent,
  { about: "policy" }
>["policy"]["statements"][number]["ingress"]["allow"][number];

function asIfServed(rule: AllowRule): AllowRule {
  return rule.unserved.length === 0 ? rule : { ...rule, ...rule.meant, unserved: [] };
}

/** What passes by the edit and did not: other peers that are known or have addresses like this one's, and other ports of this one. */
function allowedBesides(
  before: Table,
  after: Table,
  packet: DroppedPacket,
  who: EditWorld["who"],
  edited: unknown,
): readonly string[] {
  const question = questionOf(packet);
  const opens = (other: TableQuestion): boolean =>
    before.judge(other).verdict === "drop" && after.judge(other).verdict === "pass";
  const names = new Set<string>();
  const own = peerName(packet, who);
  for (const [address, { name }] of [...who].slice(0, mostAsked)) {
    const bytes = bytesOf(address);
    if (bytes !== undefined && name !== own && !names.has(name) && opens({ ...question, peer: mapped(bytes) }))
      names.add(name);
  }
  const stranger = likelyAddresses(peerBytes(packet)).find(
    (bytes) => !who.has(renderAddress(bytes)) && opens({ ...question, peer: mapped(bytes) }),
  );
  const others = stranger === undefined ? [] : [`other addresses, such as ${renderAddress(stranger)}`];
  return [...portsBesides(question, edited, opens), ...names, ...others];
}

function portsBesides(
  question: TableQuestion,
  edited: unknown,
  opens: (other: TableQuestion) => boolean,
): readonly string[] {
  const every = ["every port of the same peer"];
  if (!(question.protocol in protocolNumbers)) {
    const ofTcp = { ...question, protocol: 6 };
    return opens({ ...ofTcp, port: strangePorts[0] ?? 1 }) ? every : [];
  }
  if (strangePorts.every((port) => port === question.port || opens({ ...question, port }))) return every;
  for (const [number, protocol] of Object.entries(protocolNumbers))
    for (const port of likelyPorts(edited, question.port))
      if (opens({ ...question, protocol: Number(number), port }))
        return [`other ports of the same peer, such as ${protocol} ${port}`];
  return [];
}

function peerBytes({ direction, opening }: DroppedPacket): Uint8Array {
  return direction === "ingress" ? opening.source : opening.destination;
}

function peerName(packet: DroppedPacket, who: EditWorld["who"]): string | undefined {
  return who.get(renderAddress(peerBytes(packet)))?.name;
}

function bytesOf(address: string): Uint8Array | undefined {
  const read = parsePrefix(address);
  return read.ok ? read.prefix.bytes : undefined;
}
