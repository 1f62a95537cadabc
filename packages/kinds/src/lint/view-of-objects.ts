import { internalIpsOf } from "../core/node/schema.ts";
import { namespaceLabels } from "../core/namespace/labels.ts";
import { podFacts } from "../core/pod/pod-facts.ts";
import type { Parsed, ResourceView } from "../kind.ts";
import type { LintPod, LintView, OwnAddress } from "./lint-view.ts";

/** What is known where there are only objects: those of pods, nodes and namespaces among them. */
export function lintViewOf(objects: readonly Parsed[]): LintView {
  const resources = new Map(
    objects.map((parsed) => [`${parsed.ref.group}/${parsed.ref.kind}/${parsed.ref.name}`, parsed]),
  );
  const find: ResourceView["find"] = ({ group, kind, name }) => resources.get(`${group}/${kind}/${name}`);
  const core = (kind: string): readonly Parsed[] => objects.filter(({ ref }) => ref.group === "" && ref.kind === kind);
  const pods = core("Pod").flatMap(({ object, ref }): readonly LintPod[] => {
    const { addresses, hasEnded, isHostNetwork, namedPorts, serviceAccount } = podFacts(object);
    if (hasEnded) return [];
    const { name, namespace } = ref;
    const labels = object.metadata.labels ?? {};
    const ofNamespace = namespaceLabels({ find }, namespace);
    const network = { isHostNetwork, namedPorts, addresses: isHostNetwork ? [] : addresses };
    return [{ name, namespace, labels, namespaceLabels: ofNamespace, serviceAccount, ...network }];
  });
  const nodes = core("Node");
  return {
    findPods: (isMeant, most) => (pods.length === 0 ? undefined : pods.filter(isMeant).slice(0, most)),
    findNodes: (isMeant) =>
      nodes.length === 0
        ? undefined
        : nodes.flatMap(({ object, ref }) => (isMeant({ labels: object.metadata.labels ?? {} }) ? [ref.name] : [])),
    ownAddresses: nodes.flatMap(({ object, ref }): readonly OwnAddress[] =>
      internalIpsOf(object).map((address) => ({ address, owner: `node ${ref.name}`, isOfNode: true })),
    ),
  };
}
