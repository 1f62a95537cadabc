import type { Issue } from "@bpfleet/base";
import { parsePrefix, renderPrefix } from "../../address/prefix.ts";
import type { KubeObject, ObjectMeta, Parsed } from "../../kind.ts";
import type { LabelSelector } from "../../labels/label-selector.ts";
import { namespaceKey } from "../../policy/requirements.ts";
import { everyIcmp } from "./migrate-icmp.ts";
import type { AnyRule } from "./read-rule.ts";
import { specSchema, type EBPFNetworkPolicy, type NetworkPolicySpec } from "./schema.ts";

/** What a rule of the new object was made of. */
export interface MigratedRule {
  /** In the new object. */
  readonly path: string;
  /** In the old one. */
  readonly from: string;
}

export interface Migration {
  /** `undefined` where there is nothing to write: it has no image, or decides nothing. */
  readonly object: KubeObject | undefined;
  readonly rules: readonly MigratedRule[];
  /** Errors: what has no image. Warnings: what is another thing there. */
  readonly issues: readonly Issue[];
}

const directions = ["ingress", "egress"] as const;
type Direction = (typeof directions)[number];
type Fields = Readonly<Record<string, unknown>>;

/**
 * A CiliumNetworkPolicy of an EBPFNetworkPolicy, or a CiliumClusterwideNetworkPolicy where nodes are selected, by the
 * mapping table of its document. Whether both mean the same is not said here.
 */
export function migrateNetworkPolicy(parsed: Parsed<EBPFNetworkPolicy>): Migration {
  const { spec } = parsed.object;
  const told = new Issues(parsed);
  refuseWhatHasNoImage(spec, told);
  if (told.hasErrors) return { object: undefined, rules: [], issues: told.all };
  const rules: MigratedRule[] = [];
  const isOfNodes = spec.selector?.nodeSelector !== undefined;
  const lists: Fields = Object.fromEntries(
    directions.flatMap((direction) => {
      const place = new Place(direction, isOfNodes ? parsed.ref.namespace : undefined, told);
      return Object.entries(migrateDirection(spec[direction] ?? [], place, rules));
    }),
  );
  if (Object.keys(lists).length === 0) {
    told.warning("/spec", "no-effect", "decides nothing, so there is nothing to write");
    return { object: undefined, rules, issues: told.all };
  }
  return { object: objectOf(parsed, lists), rules, issues: told.all };
}

class Issues {
  readonly all: Issue[] = [];
  readonly #parsed: Parsed;

  constructor(parsed: Parsed) {
    this.#parsed = parsed;
  }

  get hasErrors(): boolean {
    return this.all.some(({ severity }) => severity === "error");
  }

  error(path: string, message: string): void {
    this.#add("error", path, "no-image", message);
  }

  warning(path: string, code: string, message: string): void {
    this.#add("warning", path, code, message);
  }

  #add(severity: Issue["severity"], path: string, code: string, text: string): void {
    const message = `${path
      .slice(1)
      .replaceAll(/\/(\d+)/g, "[$1]")
      .replaceAll("/", ".")}: ${text}`;
    this.all.push({ path, code, severity, message, position: this.#parsed.positionOf(path) });
  }
}

function refuseWhatHasNoImage(spec: NetworkPolicySpec, told: Issues): void {
  const instead: Readonly<Record<string, string>> = {
    nat: "; write an EBPFNATPolicy",
    qos: "; write an EBPFTrafficControl",
  };
  if (spec.policyType !== "filtering")
    told.error(
      "/spec/policyType",
      `${spec.policyType} has no image in a policy of Cilium's${instead[spec.policyType] ?? ""}`,
    );
  if (!spec.stateful)
    told.warning(
      "/spec/stateful",
      "no-image",
      "is false: Cilium lets replies to allowed connections pass, and so does this policy as it is served",
    );
  for (const direction of directions) {
    for (const [index, { action }] of (spec[direction] ?? []).entries()) {
      if (action === "log" || action === "mark")
        told.error(
          `/spec/${direction}/${index}/action`,
          `${action} has no image in a policy of Cilium's; write allow if letting pass is what matters`,
        );
    }
  }
}

class Place {
  readonly direction: Direction;
  /** Of peers, where the object is of the whole cluster. */
  readonly #namespace: string | undefined;
  readonly told: Issues;

  constructor(direction: Direction, namespace: string | undefined, told: Issues) {
    this.direction = direction;
    this.#namespace = namespace;
    this.told = told;
  }

  get side(): "from" | "to" {
    return this.direction === "ingress" ? "from" : "to";
  }

  path(index: number): string {
    return `/spec/${this.direction}/${index}`;
  }

  /** Pods of the policy's namespace are said by their namespace where the new object has none. */
  ownNamespace(): Fields {
    return this.#namespace === undefined ? {} : { [`k8s:${namespaceKey}`]: this.#namespace };
  }
}

interface Numbered {
  readonly rule: AnyRule;
  readonly index: number;
}

/**
 * What denies everything at the end is what denies by default; what denies at the end before that is as good as not
 * there. Other rules that deny come before all that allow.
 */
function migrateDirection(rules: readonly AnyRule[], place: Place, made: MigratedRule[]): Fields {
  const { direction, told } = place;
  const meant = rules
    .map((rule, index) => ({ rule, index }))
    .filter(({ rule, index }) => {
      if (rule[place.side]?.length !== 0) return true;
      told.warning(
        `${place.path(index)}/${place.side}`,
        "no-effect",
        "is empty: nobody is meant, so the rule is left out",
      );
      return false;
    });
  const end = meant.findIndex(({ rule }) => rule[place.side] === undefined && (rule.ports ?? []).length === 0);
  const last = meant[end];
  const closes = last?.rule.action === "deny";
  const isLimit = !closes && last?.rule.rateLimit !== undefined;
  const asked = end < 0 ? meant : meant.slice(0, isLimit ? end + 1 : end);
  const kept = closes ? asked.slice(0, asked.findLastIndex(({ rule }) => rule.action !== "deny") + 1) : asked;
  if (kept.length === 0 && !closes) return {};
  const denying = kept.filter(({ rule }) => rule.action === "deny");
  const allowing = kept.filter(({ rule }) => rule.action !== "deny");
  const allow = allowing.flatMap((each) => migrateRule(each, place, direction, made));
  const [first] = allow.length === 0 && closes ? [last] : [];
  if (first !== undefined) made.push({ path: `/spec/${direction}/0`, from: place.path(first.index) });
  const deny = denying.flatMap((each) => migrateRule(each, place, `${direction}Deny`, made));
  renumber(made);
  if (!closes && denying.length === 0)
    told.warning(
      `/spec/${direction}`,
      "allows-all",
      "denies nothing by default, and so does what is written for it: enableDefaultDeny is false; end with a rule of action deny if it was to deny",
    );
  return {
    ...(closes ? {} : { [`${direction}Open`]: true }),
    ...(allow.length > 0 ? { [direction]: allow } : first === undefined ? {} : { [direction]: [{}] }),
    ...(deny.length > 0 && { [`${direction}Deny`]: deny }),
  };
}

/** Rules were added as they came: each list counts by itself. */
function renumber(made: MigratedRule[]): void {
  const counts = new Map<string, number>();
  for (const [at, rule] of made.entries()) {
    const list = rule.path.replace(/\/\d+$/, "");
    const count = counts.get(list) ?? 0;
    counts.set(list, count + 1);
    made[at] = { ...rule, path: `${list}/${count}` };
  }
}

/** One for each sort of peers and each sort of ports: Cilium's rules have one of each. */
function migrateRule({ rule, index }: Numbered, place: Place, list: string, made: MigratedRule[]): readonly Fields[] {
  const { rateLimit } = rule;
  const isLimited = rateLimit !== undefined && rule.action !== "deny";
  const bandwidth = isLimited
    ? {
        toBandwidth: {
          bitsPerSecond: rateLimit.bitsPerSecond,
          ...(rateLimit.burstSize !== undefined && { burstSize: rateLimit.burstSize }),
        },
      }
    : {};
  if (isLimited)
    place.told.warning(
      `${place.path(index)}/rateLimit`,
      "not-cilium",
      "becomes toBandwidth, which is no field of Cilium's own: where its CRD is installed, it is dropped",
    );
  const peers = peersOf(rule[place.side], place);
  const ports = portsOf(rule.ports ?? [], `${place.path(index)}/ports`, place);
  const items = peers.flatMap((peer) => ports.map((port) => ({ ...peer, ...port, ...bandwidth })));
  return items.map((item) => {
    made.push({ path: `/spec/${list}/0`, from: place.path(index) });
    const isAnything = Object.keys(item).every((field) => field === "toBandwidth");
    return isAnything ? { [`${place.side}Entities`]: ["all"], ...item } : item;
  });
}

function peersOf(peers: AnyRule["from"], place: Place): readonly Fields[] {
  if (peers === undefined) return [{}];
  const { side } = place;
  const endpoints = peers.flatMap(({ ipBlock, podSelector, namespaceSelector }) =>
    ipBlock === undefined ? [selectorOf(podSelector, namespaceSelector, place)] : [],
  );
  const blocks = peers.flatMap(({ ipBlock }) => (ipBlock === undefined ? [] : blockOf(ipBlock)));
  const plain = blocks.filter(({ except }) => except.length === 0).map(({ cidr }) => cidr);
  const cut = blocks.filter(({ except }) => except.length > 0);
  return [
    ...(endpoints.length > 0 ? [{ [`${side}Endpoints`]: endpoints }] : []),
    ...(plain.length > 0 ? [{ [`${side}CIDR`]: plain }] : []),
    ...(cut.length > 0 ? [{ [`${side}CIDRSet`]: cut }] : []),
  ];
}

/** An exception of all leaves nothing. */
function blockOf({ cidr, except = [] }: { readonly cidr: string; readonly except?: readonly string[] | undefined }) {
  const texts = [cidr, ...except].map((text) => {
    const read = parsePrefix(text);
    return read.ok ? renderPrefix({ ...read.prefix }) : text;
  });
  const [whole = cidr, ...parts] = texts.map((text) =>
    text.includes("/") ? text : `${text}/${text.includes(":") ? 128 : 32}`,
  );
  return parts.includes(whole) ? [] : [{ cidr: whole, except: parts }];
}

const namespaceLabel = "k8s:io.cilium.k8s.namespace.labels.";

function selectorOf(
  pods: LabelSelector | undefined,
  namespaces: LabelSelector | undefined,
  place: Pick<Place, "ownNamespace"> | undefined,
): Fields {
  const ofNamespaces = namespaces === undefined ? [] : expressionsOf(namespaces);
  const anywhere =
    namespaces !== undefined &&
    place !== undefined &&
    ofNamespaces.length + Object.keys(namespaces.matchLabels ?? {}).length === 0
      ? [{ key: `k8s:${namespaceKey}`, operator: "Exists" }]
      : [];
  const own = namespaces === undefined && place !== undefined ? place.ownNamespace() : {};
  const labels = {
    ...pods?.matchLabels,
    ...own,
    ...Object.fromEntries(
      Object.entries(namespaces?.matchLabels ?? {}).map(([key, value]) => [`${namespaceLabel}${key}`, value]),
    ),
  };
  const expressions = [...(pods?.matchExpressions ?? []), ...ofNamespaces, ...anywhere];
  return {
    ...(Object.keys(labels).length > 0 && { matchLabels: labels }),
    ...(expressions.length > 0 && { matchExpressions: expressions }),
  };
}

function expressionsOf({ matchExpressions = [] }: LabelSelector): readonly Fields[] {
  return matchExpressions.map((each) => ({ ...each, key: `${namespaceLabel}${each.key}` }));
}

const mostPorts = 40;

function portsOf(ports: NonNullable<AnyRule["ports"]>, at: string, { told }: Place): readonly Fields[] {
  if (ports.length === 0) return [{}];
  const ofPorts = ports.flatMap(({ protocol, port, endPort }) =>
    protocol === "ICMP"
      ? []
      : [{ port: String(port ?? 0), ...(endPort !== undefined && endPort !== port && { endPort }), protocol }],
  );
  const icmp = ports.findIndex(({ protocol }) => protocol === "ICMP");
  if (icmp >= 0)
    told.warning(
      `${at}/${icmp}/protocol`,
      "other-meaning",
      "ICMP of any type becomes the types that Cilium has names for",
    );
  const toPorts = Array.from({ length: Math.ceil(ofPorts.length / mostPorts) }, (_, part) => ({
    ports: ofPorts.slice(part * mostPorts, (part + 1) * mostPorts),
  }));
  return [...(toPorts.length > 0 ? [{ toPorts }] : []), ...(icmp >= 0 ? [{ icmps: everyIcmp }] : [])];
}

/** Of whoever writes none. */
const { default: defaultPriority } = specSchema.properties.priority as { readonly default?: unknown };

function objectOf({ object, ref }: Parsed<EBPFNetworkPolicy>, lists: Fields): KubeObject {
  const { selector, priority, description } = object.spec;
  const open = directions.filter((direction) => lists[`${direction}Open`] === true);
  const rules = Object.fromEntries(Object.entries(lists).filter(([field]) => !field.endsWith("Open")));
  const isOfNodes = selector?.nodeSelector !== undefined;
  const subject = isOfNodes
    ? { nodeSelector: selector.nodeSelector }
    : { endpointSelector: selectorOf(selector?.podSelector, selector?.namespaceSelector, undefined) };
  return {
    apiVersion: "cilium.io/v2",
    kind: isOfNodes ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
    metadata: metadataOf(object.metadata, isOfNodes ? undefined : ref.namespace),
    spec: {
      ...(description !== undefined && { description }),
      ...subject,
      ...rules,
      ...(open.length > 0 && { enableDefaultDeny: Object.fromEntries(open.map((direction) => [direction, false])) }),
      ...(priority !== defaultPriority && { labels: [{ key: "priority", value: String(priority) }] }),
    },
  };
}

const dropped = [
  "kubectl.kubernetes.io/last-applied-configuration",
  "fos1.io/deprecated",
  "fos1.io/deprecation-message",
];

function metadataOf(
  { name, namespace: own, labels, annotations = {} }: ObjectMeta,
  namespace: string | undefined,
): ObjectMeta {
  const kept = Object.entries(annotations).filter(([key]) => !dropped.includes(key));
  return {
    name: namespace === undefined ? `${own ?? "default"}-${name}` : name,
    ...(namespace !== undefined && { namespace }),
    ...(labels !== undefined && { labels }),
    ...(kept.length > 0 && { annotations: Object.fromEntries(kept) }),
  };
}
