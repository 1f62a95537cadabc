import type { Daemon } from "@bpfleet/daemon";
import type { BytecodeIntent, Intent } from "@bpfleet/features";
import { renderSource, type BytecodeSource, type NodeFacts } from "@bpfleet/kernel";
import { credentialKeys, secretData, type Secret } from "@bpfleet/kinds";
import type { AcceptedObject } from "./compile.ts";

/** `data` of the Secrets that sources name, by `namespace/name`: values in base64. */
export type PullSecrets = Parameters<Daemon["watchBytecode"]>[1];

/** Each source that some intent names, once. */
export function sourcesOf(intents: readonly Intent[]): readonly BytecodeSource[] {
  const sources = new Map<string, BytecodeSource>();
  for (const intent of intents) {
    if (intent.feature !== "bytecode") continue;
    const { source } = intent as BytecodeIntent;
    sources.set(renderSource(source), source);
  }
  return [...sources].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([, source]) => source);
}

/** Of the Secrets that hold credentials of registries. */
export function pullSecretsOf(objects: readonly AcceptedObject[]): PullSecrets {
  const secrets: Record<string, Readonly<Record<string, string>>> = {};
  for (const { parsed } of objects) {
    const { ref, object } = parsed;
    if (ref.group !== "" || ref.kind !== "Secret") continue;
    const kept = Object.entries(secretData(object as Secret)).filter(([key]) => credentialKeys.includes(key));
    if (kept.length > 0) secrets[`${ref.namespace}/${ref.name}`] = Object.fromEntries(kept);
  }
  return secrets;
}

/** `namespace/name` of the Secrets that sources name, each once. */
export function secretsNamedBy(sources: readonly BytecodeSource[]): readonly string[] {
  const names = sources.map((source) => (source.from === "file" ? undefined : source.pullSecret));
  return [...new Set(names.filter((name) => name !== undefined))].toSorted();
}

/** Whether an image cannot be had with the Secret that its source names: another one may help. */
export function lacksSecret(sources: readonly BytecodeSource[], facts: NodeFacts["bytecode"]): boolean {
  return sources.some((source) => {
    const isSecret = source.from !== "file" && source.pullSecret !== undefined;
    return isSecret && facts?.[renderSource(source)]?.state === "failed";
  });
}
