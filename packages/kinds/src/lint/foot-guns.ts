import { isRecord, type Origin } from "@bpfleet/base";
import type { Policy, PolicyRule, Requirement } from "@bpfleet/features";
import { parsePrefix } from "../address/prefix.ts";
import type { Parsed } from "../kind.ts";
import { matchesLabels } from "../labels/label-selector.ts";
import { findPolicy } from "../policy/read-policy.ts";
import { meetsAll, type LabelFacts } from "../policy/requirements.ts";
import { renderPath } from "../yaml/places.ts";
import type { LintView } from "./lint-view.ts";
import { OwnAddressIndex } from "./own-address-index.ts";
import { asksInOneNamespace, labelledElsewhere } from "./narrowed.ts";
import { findOrdered } from "./ordered-statement.ts";
import { findOrderedFootGuns, findPolicyFootGuns } from "./policy-foot-guns.ts";

/** One selector of an object, and what it is to find. */
interface Selecting {
  readonly path: string;
  readonly finds: "pod" | "node";
  readonly isMeant: (facts: LabelFacts) => boolean;
  /** What it asks for in the one namespace that it means without naming it. */
  readonly whereInOne?: readonly Requirement[] | undefined;
}

/** What is allowed, and most likely not meant, as far as it can be seen in the cluster. */
export function findFootGuns(parsed: Parsed, view: LintView): readonly string[] {
  const policy = findPolicy(parsed);
  const ordered = policy === undefined ? findOrdered(parsed) : undefined;
  return [
    ...findLockOuts(parsed, view),
    ...findVoid(parsed, policy, view),
    ...(policy === undefined ? [] : findPolicyFootGuns(parsed, policy, view)),
    ...(ordered === undefined ? [] : findOrderedFootGuns(ordered, view)),
    ...findOrderLabels(parsed),
  ];
}

/** Each may look at every pod of a cluster, and somebody waits for the answer. */
const maxSelectors = 16;

function findVoid(parsed: Parsed, policy: Policy | undefined, view: LintView): readonly string[] {
  const selecting = policy === undefined ? selectorsOf(parsed) : selectorsOfPolicy(parsed, policy);
  return selecting.slice(0, maxSelectors).flatMap(({ path, finds, isMeant, whereInOne }) => {
    const found = finds === "pod" ? view.findPods(isMeant, 1) : view.findNodes(isMeant);
    if (found?.length !== 0) return [];
    return `${renderPath(path)}: selects no ${finds} that is there now${labelledElsewhere(whereInOne, parsed.ref.namespace, view)}`;
  });
}

function selectorsOfPolicy(parsed: Parsed, { statements }: Policy): readonly Selecting[] {
  return statements.flatMap(({ subject, ingress, egress }) => [
    selectingOf(parsed, subject.selects === "pods" ? "pod" : "node", subject),
    ...[...ingress.allow, ...ingress.deny, ...egress.allow, ...egress.deny].flatMap((rule) =>
      selectorsOfRule(parsed, rule),
    ),
  ]);
}

function selectorsOfRule(parsed: Parsed, { peers }: PolicyRule): readonly Selecting[] {
  return (peers === "any" ? [] : peers).flatMap((peer): readonly Selecting[] => {
    if (peer.peer !== "pods" && peer.peer !== "nodes") return [];
    return [selectingOf(parsed, peer.peer === "pods" ? "pod" : "node", peer)];
  });
}

function selectingOf(
  parsed: Parsed,
  finds: Selecting["finds"],
  { origin, where }: { readonly origin: Origin; readonly where: readonly Requirement[] },
): Selecting {
  const whereInOne = finds === "pod" ? asksInOneNamespace(parsed, origin, where) : undefined;
  return { path: origin.path, finds, isMeant: (facts) => meetsAll(where, facts), whereInOne };
}

/** Of kinds that are no policies, by kind: the field, what it finds, and where its pods are. */
const selectorFields: Readonly<Record<string, readonly Pick<Selecting, "path" | "finds">[]>> = {
  BpfProgramConfig: [{ path: "/spec/nodeselector", finds: "node" }],
  EbpfProgramConfig: [{ path: "/spec/nodeselector", finds: "node" }],
  EBPFContainerPolicy: [{ path: "/spec/selector/podSelector", finds: "pod" }],
  EBPFNetworkPolicy: [
    { path: "/spec/selector/podSelector", finds: "pod" },
    { path: "/spec/selector/nodeSelector", finds: "node" },
  ],
  PodConfigMapConfig: [{ path: "/spec/podSelector", finds: "pod" }],
};

function selectorsOf({ object, ref }: Parsed): readonly Selecting[] {
  return (selectorFields[ref.kind] ?? []).flatMap(({ path, finds }) => {
    const selector = fieldAt(object, path);
    if (!isRecord(selector)) return [];
    const isMeant = ({ labels, namespace }: LabelFacts): boolean =>
      (finds === "node" || namespace === ref.namespace) && matchesLabels(selector, labels);
    return [{ path, finds, isMeant }];
  });
}

/** What the documents call a priority is a name to Cilium's kinds. */
function findOrderLabels({ object, ref }: Parsed): readonly string[] {
  if (ref.group !== "cilium.io") return [];
  const { spec, specs } = object as { readonly spec?: unknown; readonly specs?: unknown };
  const rules = [
    { rule: spec, path: "/spec" },
    ...(Array.isArray(specs) ? specs.map((rule: unknown, index) => ({ rule, path: `/specs/${index}` })) : []),
  ];
  return rules.flatMap(({ rule, path }) => {
    const labels = isRecord(rule) && Array.isArray(rule["labels"]) ? rule["labels"] : [];
    const index = labels.findIndex((label: unknown) => isRecord(label) && label["key"] === "priority");
    if (index < 0) return [];
    return `${renderPath(`${path}/labels/${index}`)}: orders nothing: policies of Cilium have no order, and what one denies no other allows`;
  });
}

/** More would not reach anybody. */
const maxLockOuts = 50;

/** Addresses that are dropped and that the cluster lives by. */
function findLockOuts(parsed: Parsed, { ownAddresses }: LintView): readonly string[] {
  const dropped = droppedOf(parsed);
  if (dropped.length === 0) return [];
  const own = new OwnAddressIndex(ownAddresses);
  const warnings: string[] = [];
  for (const { path, text } of dropped) {
    if (warnings.length === maxLockOuts) break;
    const read = parsePrefix(text);
    if (!read.ok) continue;
    if (read.prefix.length === 0) {
      warnings.push(`${renderPath(path)}: ${text} is every address there is`);
      continue;
    }
    const [first, ...rest] = own.within(read.prefix);
    if (first === undefined) continue;
    const more = rest.length > 0 ? ` and ${rest.length} more that the cluster lives by` : "";
    warnings.push(
      `${renderPath(path)}: ${text} covers ${first.address}, ${first.owner}${more}; it would be locked out`,
    );
  }
  return warnings;
}

interface Dropped {
  readonly path: string;
  readonly text: string;
}

function droppedOf({ object, ref }: Parsed): readonly Dropped[] {
  if (ref.kind === "EBPFProgram") {
    const path = "/spec/settings/blacklist";
    const ips = fieldAt(object, `${path}/ips`);
    if (fieldAt(object, `${path}/enabled`) !== true || !Array.isArray(ips)) return [];
    return ips.map((text: unknown, index) => ({ path: `${path}/ips/${index}`, text: String(text) }));
  }
  if (ref.kind !== "EBPFMap" || fieldAt(object, "/spec/type") !== "lpm_trie") return [];
  const users = fieldAt(object, "/spec/accessedBy");
  const entries = fieldAt(object, "/spec/initData");
  if (!Array.isArray(users) || users.length === 0 || !Array.isArray(entries)) return [];
  return entries.flatMap((entry: unknown, index) => {
    const { key, value } = isRecord(entry) ? entry : {};
    return Number(value) === 1 ? [{ path: `/spec/initData/${index}/key`, text: plainAddress(String(key)) }] : [];
  });
}

/** `0x0a0a0a00/24` as `10.10.10.0/24`; anything else as it is. */
function plainAddress(key: string): string {
  const [, digits = "", length = ""] = /^0x([0-9a-f]{8}|[0-9a-f]{32})(\/\d+)?$/i.exec(key) ?? [];
  if (digits.length === 8)
    return `${(digits.match(/../g) ?? []).map((byte) => Number.parseInt(byte, 16)).join(".")}${length}`;
  return digits.length === 32 ? `${(digits.match(/..../g) ?? []).join(":")}${length}` : key;
}

function fieldAt(object: unknown, path: string): unknown {
  let here = object;
  for (const step of path.slice(1).split("/")) here = isRecord(here) ? here[step] : undefined;
  return here;
}
