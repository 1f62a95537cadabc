import type { PolicyIntent } from "../intent.ts";
import type { Policy } from "../policy.ts";
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

/** The policies as an agent has them of their objects, which go through YAML; throws where one is refused. */
export function throughObjects({ policies, others }: InForce, misread: Misreading = (object) => object): InForce {
  const objects = writeObjects(policies, others).map(({ object }) => misread(object));
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
  };
}

/** As people would apply them. */
export function renderObjects({ policies, others }: InForce): string {
  return writeObjects(policies, others)
    .map(({ object }) => renderYaml(object))
    .join("---\n");
}
