import { policy, type Intent, type PolicyFeatureIntent } from "@bpfleet/features";
import type { NodeFacts } from "@bpfleet/kernel";
import type { EditPeer } from "@bpfleet/kinds";

/** Somebody whom policies can mean. */
export interface KnownPeer {
  /** As people call it: `pod shop/web`, `node a`. */
  readonly name: string;
  readonly is: EditPeer["is"];
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Everybody whose address is known, by address as `renderAddress` has it; of several pods that claim one all names. */
export function whoIsThere(intents: readonly Intent[], facts: NodeFacts): ReadonlyMap<string, KnownPeer> {
  const known = new Map<string, KnownPeer>();
  const add = (addresses: readonly string[], peer: KnownPeer, isBeside = false): void => {
    for (const address of new Set(addresses.map((text) => text.split(/[/%]/, 1)[0] ?? ""))) {
      const earlier = known.get(address);
      if (address === "" || (earlier !== undefined && !isBeside)) continue;
      known.set(address, earlier === undefined ? peer : { ...earlier, name: `${earlier.name} and ${peer.name}` });
    }
  };
  const all = policyIntents(intents);
  for (const intent of all) {
    if (intent.about !== "workload" || intent.isHostNetwork) continue;
    const { namespace, name } = intent.pod;
    const found = intent.endpoint === undefined ? undefined : facts.endpoints?.[intent.endpoint];
    const peer = { name: `pod ${namespace}/${name}`, is: "pod", namespace, labels: intent.labels } as const;
    add([...intent.addresses, ...(found?.found === true ? found.addresses : [])], peer, true);
  }
  for (const intent of all) {
    if (intent.about === "host") {
      const is = intent.isThisNode ? "this-node" : "node";
      add(intent.addresses, { name: `node ${intent.name}`, is, namespace: "", labels: intent.labels });
    } else if (intent.about === "addresses") {
      const { namespace, labels } = intent;
      const told = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
      add(intent.addresses, { name: `pods ${namespace}/{${told.join(",")}}`, is: "pod", namespace, labels });
    }
  }
  const own = { name: "this node", is: "this-node", namespace: "", labels: {} } as const;
  for (const { addresses } of facts.interfaces) add(addresses, own);
  return known;
}

export function policyIntents(intents: readonly Intent[]): readonly PolicyFeatureIntent[] {
  return intents.filter((intent): intent is PolicyFeatureIntent => intent.feature === policy.name);
}
