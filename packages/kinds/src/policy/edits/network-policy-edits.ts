import type { KubeObject } from "../../kind.ts";
import { append, listAt, tellingLabels, type EditWish, type Fields, type PolicyEdit } from "./edit.ts";

const namespaceLabel = "kubernetes.io/metadata.name";

/** Another port of a rule, another peer of one, or a rule more. */
export function networkPolicyEdits(object: KubeObject, { direction, peer, carries }: EditWish): readonly PolicyEdit[] {
  const field = direction === "ingress" ? "from" : "to";
  const rules = listAt((object.spec ?? {}) as Fields, direction);
  const block = selectPeer(object.metadata.namespace ?? "default", peer);
  // Of other protocols nothing can be said but all or none.
  const port = carries.protocol === "ICMP" ? undefined : { port: carries.port, protocol: carries.protocol };
  const edits = rules.flatMap((rule, index) => {
    const at = `/spec/${direction}/${index}`;
    return [
      ...(port === undefined || listAt(rule, "ports").length === 0 ? [] : [append(object, `${at}/ports`, port)]),
      ...(listAt(rule, field).length === 0 ? [] : [append(object, `${at}/${field}`, block)]),
    ];
  });
  const rule = { [field]: [block], ...(port !== undefined && { ports: [port] }) };
  return [...edits, append(object, `/spec/${direction}`, rule)];
}

/** As an item of `from` or `to`. */
export function selectPeer(namespace: string, peer: EditWish["peer"]): Fields {
  if (peer.is !== "pod") return { ipBlock: { cidr: peer.cidr } };
  const labels = tellingLabels(peer.labels);
  const podSelector = Object.keys(labels).length === 0 ? {} : { matchLabels: labels };
  if (peer.namespace === namespace) return { podSelector };
  return { namespaceSelector: { matchLabels: { [namespaceLabel]: peer.namespace } }, podSelector };
}
