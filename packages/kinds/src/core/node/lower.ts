import type { HostIntent } from "@bpfleet/features";
import type { Lowered, Parsed, ResourceView } from "../../kind.ts";
import { nodeAddressesOf, type Node } from "./schema.ts";

/** What policies know of the node. */
export function lowerNode(parsed: Parsed<Node>, view: ResourceView): Lowered {
  const { object, ref } = parsed;
  const isThisNode = ref.name === view.node.name;
  const intent: HostIntent = {
    feature: "policy",
    about: "host",
    isFact: true,
    origin: { object: ref, path: "", position: parsed.positionOf("") },
    name: ref.name,
    labels: isThisNode ? view.node.labels : (object.metadata.labels ?? {}),
    addresses: nodeAddressesOf(object),
    isThisNode,
  };
  return { intents: [intent], problems: [] };
}
