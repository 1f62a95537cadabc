import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "@bpfleet/kinds";
import { refusal, type AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { StatusWriter } from "./status-writer.ts";

const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy") ?? assert.fail();
const type = { group: kind.group, version: kind.version, plural: kind.plural };
const clock = { now: () => 0, monotonicMs: () => 0 };
const condition = { type: "Ready", status: "True" as const, reason: "Enforced", message: "m" };
const outcome = { results: [{ nodeName: "n", state: "InForce" as const, conditions: [condition], numbers: {} }] };

/** A server that refuses as it is told, and else keeps what is applied. */
class Served {
  readonly sent: (readonly string[])[] = [];
  refuse: ((status: object) => string | undefined) | undefined;
  #live: AnyObject = {
    apiVersion: "cilium.io/v2",
    kind: "CiliumNetworkPolicy",
    metadata: { name: "a", namespace: "shop", uid: "u", resourceVersion: "1", generation: 1 },
  };

  readonly client = {
    applyStatus: async (_address: unknown, object: AnyObject): Promise<AnyObject> => {
      const status = object["status"] as object;
      this.sent.push(Object.keys(status).toSorted());
      const message = this.refuse?.(status);
      if (message !== undefined) throw refusal("apply ciliumnetworkpolicies.cilium.io shop/a", 500, { message });
      const resourceVersion = String(Number(this.#live.metadata.resourceVersion) + 1);
      this.#live = { ...this.#live, metadata: { ...this.#live.metadata, resourceVersion }, status };
      return this.#live;
    },
  } as unknown as KubeClient;

  readonly writer = new StatusWriter({ client: this.client, clock, onWrite: () => {}, onRefused: assert.fail });

  write(): Promise<boolean> {
    return this.writer.write(kind, type, this.#live, { ...outcome, silentNodes: [] }, AbortSignal.timeout(30_000));
  }
}

const noPlace = (status: object): string | undefined => {
  const other = Object.keys(status).find((name) => name !== "conditions");
  return other === undefined
    ? undefined
    : `failed to create typed patch object (shop/a; cilium.io/v2, Kind=CiliumNetworkPolicy): .status.${other}: field not declared in schema`;
};

test("StatusWriter throws a 500 that is about no field, and writes the whole status the next time", async () => {
  const served = new Served();
  served.refuse = () => "etcdserver: leader changed";
  await assert.rejects(served.write(), /leader changed/);
  served.refuse = undefined;
  assert.equal(await served.write(), true);
  assert.deepEqual(served.sent[1], served.sent[0]);
  assert.ok((served.sent[0]?.length ?? 0) > 1);
});

test("StatusWriter writes conditions alone where the CRD has no place for more, and all again when the CRD has changed", async () => {
  const served = new Served();
  served.refuse = noPlace;
  assert.equal(await served.write(), true);
  assert.deepEqual(served.sent.at(-1), ["conditions"]);
  const sent = served.sent.length;
  assert.equal(await served.write(), false);
  assert.equal(served.sent.length, sent);
  served.refuse = undefined;
  served.writer.forgetSchema(kind);
  assert.equal(await served.write(), true);
  assert.deepEqual(served.sent.at(-1), served.sent[0]);
});
