import assert from "node:assert/strict";
import { sameRef } from "@bpfleet/base";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import { kinds, parseManifest, parsePrefix, renderYaml, type PatchStep } from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject } from "../compile.ts";
import { Lowering, type LoweredObjects } from "../lowering.ts";
import type { DroppedPacket } from "../policy/dropped-packet.ts";
import { findSmallestEdit, type EditAdvice } from "../policy/smallest-edit.ts";
import { whoIsThere } from "../policy/who-is.ts";
import { identify } from "../store/stored-object.ts";

const endpoint = (number: number, name: string) => ({
  found: true as const,
  interface: name,
  ifindex: number,
  addresses: [`10.0.0.${number}/24`],
  mac: "",
});
const facts = nodeFacts({
  objects: { policy: { digest: "d" } },
  interfaces: [interfaceFacts("eth0", { addresses: ["192.168.0.1/24"] }), interfaceFacts("db", { ifindex: 12 })],
  endpoints: { "shop/web": endpoint(11, "web"), "shop/db": endpoint(12, "db"), "shop/batch": endpoint(13, "batch") },
});

export const pod = (namespace: string, name: string, labels: string, address = "") => `apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: ${namespace}, labels: ${labels}, annotations: { bpfleet.io/netns: ${name} } }
${address === "" ? "" : `status: { podIPs: [{ ip: ${address} }] }\n`}---
`;
const pods =
  pod("shop", "web", "{ app: web, pod-template-hash: x7 }") +
  pod("shop", "db", "{ app: db }") +
  pod("shop", "batch", "{ app: batch }");

export const networkPolicy = (rules: string) => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: p, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  policyTypes: [Ingress]
${rules}`;

export const ciliumPolicy = (rules: string) => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: p, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: db } }
${rules}`;

function accept(yaml: string): readonly AcceptedObject[] {
  const { objects } = parseManifest(yaml, "test.yaml");
  return objects.map((manifest) => {
    const named = identify(manifest);
    assert.ok("ref" in named);
    const stored = {
      ref: named.ref,
      object: manifest.value as never,
      positionOf: manifest.positionOf,
      path: "",
      text: "",
      source: { file: "test.yaml", line: 1, isRendered: false },
      spec: "",
    };
    const accepted = acceptObject(stored, kinds);
    assert.ok(isAccepted(accepted), JSON.stringify(accepted));
    return accepted;
  });
}

/** Of pods web, db and batch of namespace shop, on one node, with these policies. */
export function adviseOf(yaml: string, packet: DroppedPacket): EditAdvice {
  const search = searchOf(yaml, packet);
  for (;;) {
    const { done, value } = search.next();
    if (done === true) return value;
  }
}

function searchOf(yaml: string, packet: DroppedPacket): ReturnType<typeof findSmallestEdit> {
  const objects = accept(pods + yaml);
  const lowering = new Lowering();
  const lower = (some: readonly AcceptedObject[]): LoweredObjects["intents"] => lowering.lower(some, facts).intents;
  const who = whoIsThere(lower(objects), facts);
  return findSmallestEdit(packet, { objects, kinds, facts, memory: new Map(), who, lower });
}

export function advise(policies: string, from: string, protocol: number, port: number): EditAdvice {
  return adviseOf(policies, toDb(from, protocol, port));
}

/** After how many steps it is known. */
export function stepsToAdvise(policies: string, from: string, protocol: number, port: number): number {
  const search = searchOf(policies, toDb(from, protocol, port));
  let steps = 1;
  while (search.next().done !== true) steps++;
  return steps;
}

function toDb(from: string, protocol: number, port: number): DroppedPacket {
  const opening = { source: bytesOf(from), destination: Uint8Array.of(10, 0, 0, 12), protocol, port };
  return { ifindex: 12, direction: "ingress", opening };
}

export function bytesOf(address: string): Uint8Array {
  const read = parsePrefix(address);
  assert.ok(read.ok);
  return read.prefix.bytes;
}

/** The manifest with all that is proposed. */
export function patched(yaml: string, advice: EditAdvice & { readonly found: true }): string {
  const objects = parseManifest(yaml, "test.yaml").objects.map((manifest) => {
    const named = identify(manifest);
    assert.ok("ref" in named);
    const edits = [advice, ...(advice.and ?? [])].filter(({ object }) => sameRef(object, named.ref));
    const object = structuredClone(manifest.value);
    for (const step of edits.flatMap(({ patch }) => patch)) apply(object, step);
    return renderYaml(object);
  });
  return objects.join("---\n");
}

function apply(object: unknown, step: PatchStep): void {
  const names = step.path.slice(1).split("/");
  const last = names.pop() ?? "";
  const holder = names.reduce((at, name) => (at as Record<string, unknown>)[name], object);
  assert.ok(typeof holder === "object" && holder !== null, step.path);
  if (Array.isArray(holder)) {
    const at = last === "-" ? holder.length : Number(last);
    if (step.op === "add") holder.splice(at, 0, step.value);
    else assert.equal(holder.splice(at, 1).length, 1, step.path);
  } else if (step.op === "add") Reflect.set(holder, last, step.value);
  else assert.ok(last in holder && Reflect.deleteProperty(holder, last), step.path);
}

/** Of pod web. */
export const web = "10.0.0.11";
