import { isRecord } from "@bpfleet/base";
import type { PortProtocol } from "@bpfleet/features";

const protocols = ["TCP", "UDP", "SCTP"] as const;

export function recordsOf(list: unknown): readonly Readonly<Record<string, unknown>>[] {
  return Array.isArray(list) ? list.filter(isRecord) : [];
}

/** Those that say something. */
export function textsOf(list: unknown): readonly string[] {
  return Array.isArray(list) ? list.filter((text): text is string => typeof text === "string" && text !== "") : [];
}

export function numberOf(value: unknown): number | undefined {
  return typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : undefined;
}

/** TCP where nothing is said. */
export function protocolOf(value: unknown): PortProtocol | undefined {
  return protocols.find((each) => each === (value ?? "TCP"));
}
