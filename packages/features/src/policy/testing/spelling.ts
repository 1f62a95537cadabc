import type { Origin } from "@bpfleet/base";
import type { Prefix } from "../../filter/intent.ts";
import type { Requirement } from "../policy.ts";
import { Chance } from "./random.ts";

/* How parts of policies are spelled in objects: shares nothing with what reads them. */

export type Json = Readonly<Record<string, unknown>>;

/** Which of several spellings a part has: the same for as long as it stands where it was written first. */
export function spellingOf({ object, path }: Origin, part: string): Chance {
  const text = `${object.kind} ${object.name} ${path} ${part}`;
  return new Chance([...text].reduce((sum, letter) => (Math.imul(sum, 31) + letter.charCodeAt(0)) | 0, 7));
}

/** What cannot be said in objects of the kind. */
export function unsayable(what: string, kind: string): RangeError {
  return new RangeError(`${kind} cannot say: ${what}`);
}

/** A selector of Kubernetes' own form. */
export function plainSelector(where: readonly Requirement[], on: Requirement["on"], kind: string, as: Chance): Json {
  const other = where.find((each) => each.on !== on);
  if (other !== undefined) throw unsayable(`${other.on} where only ${on} is asked for`, kind);
  return selector(
    where.map((each) => ({ ...each, key: each.key })),
    as,
  );
}

/** Of pods and nodes, in Cilium's words. */
export function ciliumSelector(where: readonly Requirement[], as: Chance): Json {
  return selector(
    where.map((each) => ({ ...each, key: ciliumKey(each, as) })),
    as,
  );
}

const singleKeys: Readonly<Partial<Record<Requirement["on"], string>>> = {
  "namespace-name": "io.kubernetes.pod.namespace",
  "service-account": "io.cilium.k8s.policy.serviceaccount",
  cluster: "io.cilium.k8s.policy.cluster",
};

function ciliumKey({ on, key }: Requirement, as: Chance): string {
  if (on === "reserved") return `reserved:${key}`;
  const plain = singleKeys[on] ?? (on === "namespace-label" ? `io.cilium.k8s.namespace.labels.${key}` : key);
  return `${as.of(["", "", "k8s:", "any:"])}${plain}`;
}

function selector(asked: readonly Requirement[], as: Chance): Json {
  const labels: Record<string, string> = {};
  const expressions: Json[] = [];
  for (const { key, operator, values } of asked) {
    const [first = ""] = values;
    if (operator === "In" && values.length === 1 && !Object.hasOwn(labels, key) && as.is(70)) labels[key] = first;
    else expressions.push({ key, operator, ...(values.length > 0 && { values }) });
  }
  return {
    ...((Object.keys(labels).length > 0 || as.is(10)) && { matchLabels: labels }),
    ...((expressions.length > 0 || as.is(10)) && { matchExpressions: expressions }),
  };
}

export function cidrText({ family, bytes, length }: Prefix): string {
  return `${addressText(family, bytes)}/${length}`;
}

export function addressText(family: 4 | 6, bytes: Uint8Array): string {
  if (family === 4) return [...bytes].join(".");
  const words = Array.from({ length: 8 }, (_, at) => ((bytes[at * 2] ?? 0) << 8) | (bytes[at * 2 + 1] ?? 0));
  const head = words.slice(0, words.findLastIndex((word) => word !== 0) + 1);
  const texts = (some: readonly number[]): string => some.map((word) => word.toString(16)).join(":");
  return head.length < 7 ? `${texts(head)}::` : texts(words);
}
