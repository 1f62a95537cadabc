import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster } from "./fleet-cluster.ts";

const skip = whyNoBuild();
const secretType = { group: "", version: "v1", plural: "secrets", namespace: "kube-system" } as const;
const leaves = ["bpfleet-daemon-tls", "bpfleet-agent-tls", "bpfleet-webhook-tls"] as const;
const all = ["bpfleet-ca", ...leaves];
const quietMs = 4000;

let cluster: FleetCluster;

before(async () => {
  if (skip === undefined) cluster = await startFleetCluster();
});

after(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

interface Secret extends AnyObject {
  readonly data?: Readonly<Record<string, string>>;
}

async function text(name: string, key: string): Promise<string> {
  const { data } = await cluster.admin.get<Secret>({ ...secretType, name });
  return Buffer.from(data?.[key] ?? "", "base64").toString();
}

async function assertTrust(): Promise<void> {
  for (const one of leaves) {
    const trusted = (await text(one, "ca.crt")).split(/(?<=-----END CERTIFICATE-----\n)/).filter((pem) => pem !== "");
    for (const other of leaves) {
      const leaf = new X509Certificate(await text(other, "tls.crt"));
      assert.ok(
        trusted.some((pem) => leaf.verify(new X509Certificate(pem).publicKey)),
        `${one} trusts ${other}`,
      );
    }
  }
}

test("an operator that runs while its Secrets are deleted settles after few writes", { skip }, async (t) => {
  await using running = await cluster.startOperator({ certificates: { everyMs: 200 } });
  const written = (): readonly string[] =>
    running.log.map(({ message }) => message).filter((message) => message.startsWith("apply Secret "));
  /** What is written until all is there and nothing has been written for a while, in spite of many looks. */
  const settled = async (from: number): Promise<readonly string[]> => {
    let [last, since] = [-1, performance.now()];
    return until("no more Secrets are written", async () => {
      const now = written();
      if (now.length !== last) [last, since] = [now.length, performance.now()];
      if (performance.now() - since < quietMs) return undefined;
      const { items } = await cluster.admin.list<Secret>(secretType);
      const names = items.map(({ metadata }) => metadata.name);
      return all.every((name) => names.includes(name)) ? now.slice(from) : undefined;
    });
  };
  const remove = async (...names: readonly string[]): Promise<readonly string[]> => {
    const from = written().length;
    cluster.server.kubectl(["-n", "kube-system", "delete", "secret", ...names]);
    const writes = await settled(from);
    t.diagnostic(`deleted ${names.join(" ")}: ${writes.length} writes`);
    await assertTrust();
    return writes;
  };
  assert.equal((await settled(0)).length, 4);
  const lost = await text("bpfleet-ca", "tls.crt");

  assert.ok((await remove("bpfleet-ca")).length <= 4);
  assert.ok((await text("bpfleet-agent-tls", "ca.crt")).includes(lost), "the lost one is trusted still");
  assert.ok((await remove("bpfleet-agent-tls")).length <= 1);
  assert.ok((await text("bpfleet-agent-tls", "ca.crt")).includes(lost), "the lost one is trusted still");
  assert.ok((await remove(...all)).length <= 16);
  assert.ok((await remove(...all.toReversed())).length <= 16);
});
