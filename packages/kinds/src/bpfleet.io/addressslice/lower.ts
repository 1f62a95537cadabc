import type { AddressesIntent, HostIntent } from "@bpfleet/features";
import type { Lowered, Parsed, ResourceView } from "../../kind.ts";
import { findNamespace, namespaceLabels } from "../../core/namespace/labels.ts";
import type { AddressSlice } from "./schema.ts";

interface Remembered {
  readonly namespace: Parsed | undefined;
  readonly intents: readonly AddressesIntent[];
}

/** Many slices, and few of them change: what is unchanged is not made again. */
const remembered = new WeakMap<Parsed, Remembered>();

/** What policies know of pods on other nodes, an intent for each set of labels; and of other nodes. */
export function lowerSlice(parsed: Parsed<AddressSlice>, view: ResourceView): Lowered {
  const { of, namespace: name = "" } = parsed.object.spec;
  if (of === "Node") return { intents: lowerNodes(parsed, view), problems: [] };
  const namespace = findNamespace(view, name);
  const before = remembered.get(parsed);
  if (before !== undefined && before.namespace === namespace) return { intents: before.intents, problems: [] };
  const unknown = namespace === undefined ? ({ isNamespaceUnknown: true } as const) : {};
  const intents = lowerPods(parsed, { namespaceLabels: namespaceLabels(view, name), ...unknown });
  remembered.set(parsed, { namespace, intents });
  return { intents, problems: [] };
}

function lowerPods(
  parsed: Parsed<AddressSlice>,
  ofNamespace: Pick<AddressesIntent, "namespaceLabels" | "isNamespaceUnknown">,
): AddressesIntent[] {
  const { metadata, spec } = parsed.object;
  const addresses = spec.labelSets.map((): string[] => []);
  for (const { ip, set } of spec.addresses) addresses[set]?.push(ip);
  return spec.labelSets.map(({ labels, serviceAccount = "", ports = [] }, set) => ({
    feature: "policy",
    about: "addresses",
    isFact: true,
    origin: { object: parsed.ref, path: `/spec/labelSets/${set}` },
    namespace: spec.namespace ?? "",
    labels,
    ...ofNamespace,
    serviceAccount,
    namedPorts: ports,
    addresses: addresses[set] ?? [],
    version: metadata.resourceVersion ?? "",
  }));
}

/** This node is known by its own object, where there is one. */
function lowerNodes({ object: { spec }, ref }: Parsed<AddressSlice>, view: ResourceView): HostIntent[] {
  const own = view.find({ group: "", kind: "Node", namespace: "", name: view.node.name });
  const byNode = Map.groupBy(spec.addresses, ({ node }) => spec.nodes[node] ?? "");
  return [...byNode].flatMap(([name, entries]): readonly HostIntent[] => {
    const isThisNode = name === view.node.name;
    if (isThisNode && own !== undefined) return [];
    return [
      {
        feature: "policy",
        about: "host",
        isFact: true,
        origin: { object: ref, path: "/spec/addresses" },
        name,
        labels: spec.labelSets[entries[0]?.set ?? 0]?.labels ?? {},
        addresses: entries.map(({ ip }) => ip),
        isThisNode,
      },
    ];
  });
}
