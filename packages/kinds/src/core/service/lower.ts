import { isRecord } from "@bpfleet/base";
import type { ServiceIntent, ServicePort } from "@bpfleet/features";
import type { Lowered, Parsed } from "../../kind.ts";
import { numberOf, protocolOf, recordsOf, textsOf } from "./fields.ts";
import type { Service } from "./schema.ts";

/** As the API server defaults it. */
const usualAffinitySeconds = 10_800;

const remembered = new WeakMap<Parsed, Lowered>();

/** Whatever is not as Kubernetes writes it counts as not said. */
export function lowerService(parsed: Parsed<Service>): Lowered {
  const before = remembered.get(parsed);
  if (before !== undefined) return before;
  const { object, ref } = parsed;
  const spec = isRecord(object.spec) ? object.spec : {};
  const status =
    isRecord(object.status) && isRecord(object.status["loadBalancer"]) ? object.status["loadBalancer"] : {};
  const balancers = recordsOf(status["ingress"]).flatMap(({ ip, ipMode }) => (ipMode === "Proxy" ? [] : textsOf([ip])));
  const isLimited = textsOf(spec["loadBalancerSourceRanges"]).length > 0;
  const isExternalName = spec["type"] === "ExternalName";
  const given = textsOf(spec["clusterIPs"]);
  const intent: ServiceIntent = {
    feature: "policy",
    about: "service",
    isFact: true,
    origin: { object: ref, path: "", position: parsed.positionOf("") },
    namespace: ref.namespace,
    name: ref.name,
    labels: object.metadata.labels ?? {},
    clusterAddresses: isExternalName ? [] : (given.length > 0 ? given : textsOf([spec["clusterIP"]])).filter(isAddress),
    externalAddresses: isExternalName ? [] : [...textsOf(spec["externalIPs"]), ...(isLimited ? [] : balancers)],
    closedAddresses: isLimited && !isExternalName ? balancers : [],
    ports: recordsOf(spec["ports"]).flatMap(portOf),
    affinitySeconds: spec["sessionAffinity"] === "ClientIP" ? affinityOf(spec["sessionAffinityConfig"]) : undefined,
    isLocalOnly: spec["internalTrafficPolicy"] === "Local",
  };
  const lowered: Lowered = { intents: [intent], problems: [] };
  remembered.set(parsed, lowered);
  return lowered;
}

/** `None` is that of headless ones. */
function isAddress(text: string): boolean {
  return text !== "None";
}

function portOf({ name, protocol, port, nodePort }: Readonly<Record<string, unknown>>): readonly ServicePort[] {
  const known = protocolOf(protocol);
  const number = numberOf(port);
  if (known === undefined || number === undefined) return [];
  const atNodes = numberOf(nodePort);
  return [
    { name: textsOf([name])[0] ?? "", protocol: known, port: number, nodePort: atNodes === 0 ? undefined : atNodes },
  ];
}

function affinityOf(config: unknown): number {
  const clientIp = isRecord(config) ? config["clientIP"] : undefined;
  return (isRecord(clientIp) ? numberOf(clientIp["timeoutSeconds"]) : undefined) ?? usualAffinitySeconds;
}
