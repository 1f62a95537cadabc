import type { KubeObject } from "../../kind.ts";
import {
  append,
  fieldsAt,
  listAt,
  tellingLabels,
  type EditTraffic,
  type EditWish,
  type Fields,
  type PolicyEdit,
} from "./edit.ts";

const namespaceLabel = "k8s:io.kubernetes.pod.namespace";

/** Another port of a rule, another peer of one, or a rule more; `at` is the place of the spec that isolates. */
export function ciliumEdits(object: KubeObject, at: string, wish: EditWish): readonly PolicyEdit[] {
  const { direction, carries } = wish;
  const spec = fieldsAt(object, at);
  const [field, peer] = peerOf(object, wish);
  const traffic = trafficOf(carries);
  const edits = listAt(spec, direction).flatMap((rule, index) => {
    const place = `${at}/${direction}/${index}`;
    const ports = listAt(rule, "toPorts");
    const first = ports.findIndex((each) => each["rules"] === undefined);
    const port = listAt(traffic, "toPorts")[0];
    return [
      ...(port === undefined || first < 0
        ? []
        : [append(object, `${place}/toPorts/${first}/ports`, listAt(port, "ports")[0])]),
      ...(carries.protocol === "ICMP" && listAt(rule, "icmps").length > 0
        ? [append(object, `${place}/icmps/0/fields`, icmpOf(carries))]
        : []),
      ...(listAt(rule, field).length === 0 ? [] : [append(object, `${place}/${field}`, peer)]),
    ];
  });
  return [...edits, append(object, `${at}/${direction}`, { [field]: [peer], ...traffic })];
}

function trafficOf(carries: EditTraffic): Fields {
  if (carries.protocol === "ICMP") return { icmps: [{ fields: [icmpOf(carries)] }] };
  const { port, protocol } = carries;
  return { toPorts: [{ ports: [{ port: String(port), protocol }] }] };
}

function icmpOf({ family, type }: Extract<EditTraffic, { protocol: "ICMP" }>): Fields {
  return { family: family === 4 ? "IPv4" : "IPv6", type };
}

/** The field of the rule, and the item in it. */
function peerOf({ metadata }: KubeObject, { direction, peer }: EditWish): readonly [string, unknown] {
  const to = direction === "ingress" ? "from" : "to";
  if (peer.is !== "pod") {
    if (peer.is === "world") return [`${to}CIDR`, peer.cidr];
    return [`${to}Entities`, peer.is === "node" ? "remote-node" : "host"];
  }
  const isHere = peer.namespace === metadata.namespace;
  const matchLabels = { ...(!isHere && { [namespaceLabel]: peer.namespace }), ...tellingLabels(peer.labels) };
  return [`${to}Endpoints`, Object.keys(matchLabels).length === 0 ? {} : { matchLabels }];
}
