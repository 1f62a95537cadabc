import type { KubeObject } from "@bpfleet/kinds";
import {
  directions,
  proceedNumber,
  pullPolicies,
  type AttachWish,
  type LoadSource,
  type ProceedOn,
} from "./load-wish.ts";

/** The part of a config in which a List speaks of it; `undefined` for programs that bpfd's API has no words for. */
export function readConfig(
  object: KubeObject,
): { readonly name: string; readonly source: LoadSource; readonly attach: AttachWish } | undefined {
  const spec = recordOf(object.spec);
  const attach = attachOf(spec);
  return attach === undefined ? undefined : { name: textOf(spec["name"]), source: sourceOf(spec["bytecode"]), attach };
}

function attachOf(spec: Record<string, unknown>): AttachWish | undefined {
  const at = recordOf(spec["attachpoint"]);
  const type = spec["type"];
  if (type === "TRACEPOINT") return { type, name: textOf(recordOf(at["singleattach"])["name"]) };
  if (type !== "XDP" && type !== "TC") return undefined;
  const network = recordOf(at["networkmultiattach"]);
  const selector = recordOf(network["interfaceselector"]);
  const proceed = Array.isArray(network["proceedon"]) ? (network["proceedon"] as unknown[]) : [];
  return {
    type,
    interface: textOf(at["interface"] ?? network["interface"] ?? selector["interface"]),
    priority: Number(network["priority"] ?? spec["priority"] ?? 0),
    direction: directions.find((known) => known === network["direction"]) ?? "NONE",
    proceedOn: proceed.filter((name): name is ProceedOn => proceedNumber(String(name)) !== undefined),
  };
}

function sourceOf(bytecode: unknown): LoadSource {
  const plain = { pullPolicy: "IfNotPresent", username: "", password: "" } as const;
  if (typeof bytecode === "string") {
    const [, scheme, rest = bytecode] = /^(image|file):\/\/(.*)$/s.exec(bytecode) ?? [];
    return scheme === "file" ? { file: rest } : { ...plain, image: rest };
  }
  const { path, imageurl, image } = recordOf(bytecode);
  if (path !== undefined) return { file: textOf(path) };
  const { url, imagepullpolicy } = recordOf(image);
  const pullPolicy = pullPolicies.find((known) => known === imagepullpolicy) ?? plain.pullPolicy;
  return { ...plain, pullPolicy, image: textOf(imageurl ?? url) };
}

function recordOf(value: unknown): Record<string, unknown> {
  return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : {};
}

function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}
