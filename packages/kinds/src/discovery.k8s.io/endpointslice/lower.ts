import { isRecord } from "@bpfleet/base";
import type { Backend, BackendsIntent } from "@bpfleet/features";
import { numberOf, protocolOf, recordsOf, textsOf } from "../../core/service/fields.ts";
import type { Lowered, Parsed } from "../../kind.ts";
import type { EndpointSlice } from "./schema.ts";

/** https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetesioservice-name */
const serviceLabel = "kubernetes.io/service-name";

/** Many slices, and few of them change. */
const remembered = new WeakMap<Parsed, Lowered>();

/** Whatever is not as Kubernetes writes it counts as not said. */
export function lowerEndpointSlice(parsed: Parsed<EndpointSlice>): Lowered {
  const before = remembered.get(parsed);
  if (before !== undefined) return before;
  const intent = intentOf(parsed);
  const lowered: Lowered = { intents: intent === undefined ? [] : [intent], problems: [] };
  remembered.set(parsed, lowered);
  return lowered;
}

function intentOf({ object, ref, positionOf }: Parsed<EndpointSlice>): BackendsIntent | undefined {
  const service = object.metadata.labels?.[serviceLabel];
  if (service === undefined || (object.addressType !== "IPv4" && object.addressType !== "IPv6")) return undefined;
  return {
    feature: "policy",
    about: "backends",
    isFact: true,
    origin: { object: ref, path: "", position: positionOf("") },
    namespace: ref.namespace,
    service,
    ports: recordsOf(object.ports).flatMap(({ name, protocol, port }) => {
      const known = protocolOf(protocol);
      const number = numberOf(port);
      return known === undefined || number === undefined
        ? []
        : [{ name: textsOf([name])[0] ?? "", protocol: known, port: number }];
    }),
    backends: recordsOf(object.endpoints).map(backendOf),
  };
}

function backendOf({ addresses, conditions, nodeName, hints }: Readonly<Record<string, unknown>>): Backend {
  const said = isRecord(conditions) ? conditions : {};
  const hinted = isRecord(hints) ? hints : {};
  const isReady = (said["ready"] ?? true) === true;
  return {
    addresses: textsOf(addresses),
    isReady,
    isServing: (said["serving"] ?? isReady) === true,
    node: textsOf([nodeName])[0],
    forZones: namesOf(hinted["forZones"]),
    forNodes: namesOf(hinted["forNodes"]),
  };
}

function namesOf(list: unknown): readonly string[] {
  return recordsOf(list).flatMap(({ name }) => textsOf([name]));
}
