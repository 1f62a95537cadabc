import assert from "node:assert/strict";
import { test } from "node:test";
import type { WorkloadIntent } from "@bpfleet/features";
import type { NodeFacts } from "@bpfleet/kernel";
import { whoIsThere } from "./who-is.ts";

function pod(name: string, addresses: readonly string[]): WorkloadIntent {
  const object = { group: "", kind: "Pod", namespace: "shop", name };
  return {
    feature: "policy",
    about: "workload",
    origin: { object, path: "" },
    pod: object,
    labels: {},
    namespaceLabels: {},
    serviceAccount: "",
    namedPorts: [],
    addresses,
    isHostNetwork: false,
    endpoint: name,
  };
}

test("whoIsThere names each pod that claims an address, and each once", () => {
  const place = { found: true, interface: "v", ifindex: 4, addresses: ["10.0.0.1"], mac: "" } as const;
  const facts = { interfaces: [], endpoints: { web: place, copy: place } } as unknown as NodeFacts;
  const known = whoIsThere([pod("web", ["10.0.0.1"]), pod("copy", []), pod("db", ["10.0.0.2"])], facts);
  assert.deepEqual(
    [...known].map(([address, { name }]) => [address, name]),
    [
      ["10.0.0.1", "pod shop/web and pod shop/copy"],
      ["10.0.0.2", "pod shop/db"],
    ],
  );
});
