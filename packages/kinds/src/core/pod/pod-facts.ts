import { isRecord } from "@bpfleet/base";
import type { NamedPort } from "@bpfleet/features";
import type { KubeObject } from "../../kind.ts";

/** What of a pod decides who it is to others. */
export interface PodFacts {
  /** `undefined` before it is known where it runs. */
  readonly nodeName: string | undefined;
  readonly isHostNetwork: boolean;
  /** Its addresses may be another's by now. */
  readonly hasEnded: boolean;
  readonly addresses: readonly string[];
  readonly serviceAccount: string;
  readonly namedPorts: readonly NamedPort[];
}

const protocols = ["TCP", "UDP", "SCTP"] as const;

/** Whatever is not as Kubernetes writes it counts as not said. */
export function podFacts({ spec, status }: KubeObject): PodFacts {
  const said = isRecord(spec) ? spec : {};
  const seen = isRecord(status) ? status : {};
  const sidecars = recordsOf(said["initContainers"]).filter(({ restartPolicy }) => restartPolicy === "Always");
  const ips = recordsOf(seen["podIPs"]).flatMap(({ ip }) => textOf(ip));
  return {
    nodeName: textOf(said["nodeName"])[0],
    isHostNetwork: said["hostNetwork"] === true,
    hasEnded: seen["phase"] === "Succeeded" || seen["phase"] === "Failed",
    addresses: ips.length > 0 ? ips : textOf(seen["podIP"]),
    serviceAccount: textOf(said["serviceAccountName"])[0] ?? "default",
    namedPorts: [...recordsOf(said["containers"]), ...sidecars].flatMap(({ ports }) =>
      recordsOf(ports).flatMap(namedPort),
    ),
  };
}

function namedPort({ name, protocol = "TCP", containerPort }: Readonly<Record<string, unknown>>): readonly NamedPort[] {
  const known = protocols.find((each) => each === protocol);
  if (known === undefined || typeof containerPort !== "number") return [];
  return textOf(name).map((text) => ({ name: text, protocol: known, port: containerPort }));
}

function recordsOf(list: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(list) ? list.filter(isRecord) : [];
}

function textOf(value: unknown): readonly string[] {
  return typeof value === "string" && value !== "" ? [value] : [];
}
