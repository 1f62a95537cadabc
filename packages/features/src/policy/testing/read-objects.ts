import type { PolicyIntent } from "../intent.ts";
import type { Policy, PolicyRule } from "../policy.ts";
import { findKind, parseManifest, renderYaml, type ResourceView } from "@bpfleet/kinds";
import type { Json } from "./spelling.ts";
import { writeObjects } from "./write-objects.ts";
import type { OtherTiers } from "./world.ts";

/** What stands in for a reader that misreads: what it takes an object for. */
export type Misreading = (object: Json) => Json;

export interface InForce {
  readonly policies: readonly Policy[];
  readonly others: OtherTiers;
}

const alone: ResourceView = {
  find: () => undefined,
  list: () => [],
  node: { name: "here", labels: {}, internalIps: [] },
};

export interface ReadPolicies extends InForce {
  /** Of each rule that was written: its object, and where it stands there. */
  readonly places: ReadonlyMap<PolicyRule, string>;
}

/** The policies as an agent has them of their objects, which go through YAML; throws where one is refused. */
export function throughObjects({ policies, others }: InForce, misread: Misreading = (object) => object): ReadPolicies {
  const written = writeObjects(policies, others);
  const objects = written.map(({ object }) => misread(object));
  const manifest = parseManifest(objects.map(renderYaml).join("---\n"), "random.yaml");
  const [issue] = manifest.issues;
  if (issue !== undefined) throw new RangeError(`read YAML: ${issue.message}`);
  const intents = manifest.objects.flatMap(({ value, apiVersion, kind: name, positionOf }) => {
    const kind = findKind(apiVersion, name);
    const parsed = kind?.parse(value, positionOf);
    if (kind === undefined || parsed?.ok !== true) {
      const why = (parsed?.issues ?? []).map(({ path, message }) => `${path} ${message}`);
      throw new RangeError(`read an object: ${why.join("; ")}\n${renderYaml(value)}`);
    }
    return kind.lower(parsed.value, alone).intents as readonly PolicyIntent[];
  });
  const ordered = (tier: "fallback" | "container"): OtherTiers["fallback"] =>
    intents.flatMap((each) => (each.tier === tier ? [{ policy: each.policy, priority: each.priority ?? 0 }] : []));
  const together = (tier: "policy" | "l4"): readonly Policy[] =>
    intents.flatMap((each) => (each.tier === tier ? [each.policy] : []));
  return {
    policies: together("policy"),
    others: { fallback: ordered("fallback"), container: ordered("container"), l4: together("l4") },
    places: new Map(
      written.flatMap(({ object: { kind, metadata }, places }) =>
        [...places].map(([rule, path]) => [
          rule,
          placeOf({ object: { kind, name: metadata.name, namespace: metadata.namespace ?? "" }, path }),
        ]),
      ),
    ),
  };
}

/** As `places` has them. */
export function placeOf({ object: { kind, namespace, name }, path }: WrittenPlace): string {
  return `${kind} ${namespace}/${name} ${path}`;
}

interface WrittenPlace {
  readonly object: { readonly kind: string; readonly namespace: string; readonly name: string };
  readonly path: string;
}

/** As people would apply them. */
export function renderObjects({ policies, others }: InForce): string {
  return writeObjects(policies, others)
    .map(({ object }) => renderYaml(object))
    .join("---\n");
}
