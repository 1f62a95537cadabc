import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { AnyObject } from "@bpfleet/kube";
import { connectKube, loadAccess, systemTiming, type Timing } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

const skip = whyNoBuild();
const account = "podconfigmap-controller";
const theSet = {
  group: "apps",
  version: "v1",
  plural: "daemonsets",
  namespace: "kube-system",
  name: "bpfd-daemon",
} as const;
let cluster: FleetCluster;

before(async () => {
  if (skip === undefined) cluster = await startFleetCluster();
});

after(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

/** A minute of it are ten seconds. */
const fast: Timing = {
  ...systemTiming,
  monotonicMs: () => systemTiming.monotonicMs() * 6,
  sleep: (ms, signal) => systemTiming.sleep(ms / 6, signal),
};

const dayMs = 86_400_000;

/** Its wall clock is so much ahead; it looks at certificates all the time. */
function startWithClock(clock: { readonly stepMs: number }): Promise<RunningOperator> {
  return cluster.startOperator({
    timing: { ...systemTiming, now: () => systemTiming.now() + clock.stepMs },
    certificates: { everyMs: 200 },
  });
}

test(
  "an operator whose token is refused for more than a minute leads again once its file holds a good one",
  { skip },
  async () => {
    const { kubectl } = cluster.server;
    const tokenFile = join(cluster.dir, "token");
    // As the kubelet does it: whole, in one step.
    const writeToken = (): void => {
      writeFileSync(`${tokenFile}.next`, kubectl(["-n", "kube-system", "create", "token", account]));
      renameSync(`${tokenFile}.next`, tokenFile);
    };
    writeToken();
    const path = cluster.kubeconfigOf(account);
    const config = JSON.parse(readFileSync(path, "utf8")) as object;
    writeFileSync(path, JSON.stringify({ ...config, users: [{ name: account, user: { tokenFile } }] }));
    await using client = connectKube(loadAccess({ env: { KUBECONFIG: path }, timing: fast }));
    await using running = await cluster.startOperator({
      client,
      timing: fast,
      metrics: { host: "127.0.0.1", port: 0 },
    });
    const { operator } = running;
    const health = async (): Promise<string> => {
      const answer = await fetch(`http://127.0.0.1:${operator.metricsPort}/healthz`);
      return `${answer.status} ${await answer.text()}`;
    };
    const hasSet = async () => ((await cluster.admin.find(theSet)) === undefined ? undefined : true);
    await until("there is a DaemonSet", hasSet);
    assert.match(await health(), /^200 /);

    kubectl(["-n", "kube-system", "delete", "serviceaccount", account]);
    kubectl(["-n", "kube-system", "create", "serviceaccount", account]);
    const said = await until("it says that it is refused", async () => {
      const text = await health();
      return text.startsWith("200") ? undefined : text;
    });
    assert.match(said, /has refused this pod's token for \d+ s \(401\)/);
    assert.equal(operator.isLeader, false);
    await cluster.admin.delete(theSet);

    writeToken();
    await until("it leads", () => operator.isLeader || undefined);
    await until("the DaemonSet is back", hasSet);
    await until("it is well", async () => (await health()).startsWith("200") || undefined);
  },
);

test(
  "an operator leads on, acts and renews nothing when its clock is stepped by a day, either way",
  { skip },
  async () => {
    const clock = { stepMs: 0 };
    await using running = await startWithClock(clock);
    const { operator } = running;
    await until("it leads", () => operator.isLeader || undefined);
    const setOf = () => cluster.admin.find<AnyObject>(theSet);
    await until("there is a DaemonSet", setOf);
    const secrets = async (): Promise<readonly unknown[]> => {
      const { items } = await cluster.admin.list<AnyObject>({
        group: "",
        version: "v1",
        plural: "secrets",
        namespace: "kube-system",
      });
      return items.map(({ metadata }) => [metadata.name, metadata.resourceVersion]);
    };
    const before = await secrets();
    assert.ok(before.length >= 3);
    for (const ms of [dayMs, -dayMs]) {
      clock.stepMs = ms;
      const { metadata } = (await setOf()) ?? assert.fail();
      await cluster.admin.delete(theSet);
      await until("it is made anew", async () => {
        const uid = (await setOf())?.metadata.uid;
        return (uid !== undefined && uid !== metadata.uid) || undefined;
      });
      // Several looks at the certificates, and at the lease.
      await sleep(3000);
      assert.equal(operator.isLeader, true);
      assert.deepEqual(await secrets(), before);
    }
  },
);

test(
  "certificates of a clock that was 70 or 800 days ahead for a moment hold again within a look of its correction",
  { skip },
  async () => {
    const clock = { stepMs: 0 };
    await using running = await startWithClock(clock);
    await until("it leads", () => running.operator.isLeader || undefined);
    const names = ["bpfleet-ca", "bpfleet-daemon-tls", "bpfleet-agent-tls", "bpfleet-webhook-tls"];
    const certificates = async (): Promise<readonly X509Certificate[] | undefined> => {
      const secrets = await Promise.all(
        names.map((name) =>
          cluster.admin.find<AnyObject & { readonly data?: Readonly<Record<string, string>> }>({
            group: "",
            version: "v1",
            plural: "secrets",
            namespace: "kube-system",
            name,
          }),
        ),
      );
      const packed = secrets.flatMap((secret) => secret?.data?.["tls.crt"] ?? []);
      return packed.length < names.length
        ? undefined
        : packed.map((pem) => new X509Certificate(Buffer.from(pem, "base64")));
    };
    const [authority] = await until("all are issued", certificates);
    for (const [days, replaced] of [
      [70, 3],
      [800, 4],
    ] as const) {
      clock.stepMs = days * dayMs;
      await until(`${replaced} are issued ${days} days ahead`, async () => {
        const issued = (await certificates()) ?? [];
        return (
          issued.filter(({ validFromDate }) => validFromDate.getTime() > Date.now()).length === replaced || undefined
        );
      });
      clock.stepMs = 0;
      const now = await until("all hold", async () => {
        const issued = (await certificates()) ?? [];
        const isHolding = ({ validFromDate, validToDate }: X509Certificate): boolean =>
          validFromDate.getTime() <= Date.now() && validToDate.getTime() > Date.now();
        return issued.length === names.length && issued.every(isHolding) ? issued : undefined;
      });
      for (const leaf of now.slice(1)) assert.ok(now[0] !== undefined && leaf.verify(now[0].publicKey));
      assert.equal(now[0]?.fingerprint256 === authority?.fingerprint256, days === 70);
    }
    // A clock that is behind takes nothing good for early.
    const before = await certificates();
    clock.stepMs = -100 * dayMs;
    await sleep(3000);
    assert.deepEqual((await certificates())?.map(String), before?.map(String));
  },
);
