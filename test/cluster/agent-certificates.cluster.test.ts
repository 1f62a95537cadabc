import assert from "node:assert/strict";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { connect } from "node:tls";
import { Traffic } from "@bpfleet/daemon/testing";
import type { AnyObject } from "@bpfleet/kube";
import { systemTiming } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { target } from "../kernel/two-processes.ts";
import { ClusterNode, documented } from "./cluster-node.ts";
import { startFleetCluster, until, within, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";
import { SecretVolumes } from "./secret-volumes.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
let cluster: FleetCluster;
let node: ClusterNode;
let running: RunningOperator;
/** Of the operator's clock, from the real one. */
let stepMs = 0;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator({
    timing: { ...systemTiming, now: () => systemTiming.now() + stepMs },
    certificates: { everyMs: 200, overlapMs: 5000 },
  });
  node = await ClusterNode.make(cluster.server);
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

const [daemonSecret, agentSecret] = ["bpfleet-daemon-tls", "bpfleet-agent-tls"];
const leafMs = 90 * 86_400_000;

/** What a daemon does with who shows these certificates: `served` where it speaks at all. */
async function greet(socket: string, cert: string, key: string, ca: string): Promise<"served" | "cut off"> {
  const { promise, resolve } = Promise.withResolvers<"served" | "cut off">();
  const path = { path: socket, ALPNProtocols: ["h2"], servername: "bpfd", checkServerIdentity: () => undefined };
  const connection = connect({ ...path, cert, key, ca, minVersion: "TLSv1.3" });
  connection.on("data", () => resolve("served")).on("close", () => resolve("cut off"));
  connection.on("error", () => resolve("cut off"));
  try {
    return await within("greet the daemon", 30_000, promise);
  } finally {
    connection.destroy();
  }
}

test(
  "the operator's certificates are renewed under a daemon and an agent that work: plans go on crossing; what has ended opens nothing, is told, and is over with the next",
  { skip },
  async (t) => {
    const { processes } = node;
    const [inNetwork, toggled, permitted] = documented;
    const folder = (name: string): string => join(processes.sandbox.dir, "tls", name);
    await using volumes = new SecretVolumes(cluster.admin, {
      [daemonSecret]: folder("daemon"),
      [agentSecret]: folder("agent"),
    });
    // From here on by the operator's authority alone.
    for (const name of ["agent", "daemon"] as const) await processes.stop(name);
    for (const name of [daemonSecret, agentSecret])
      await until("it is issued", () => volumes.show(name).then(() => volumes.text(name, "tls.crt") || undefined));
    await processes.startDaemon();
    node.startAgent();
    volumes.follow();
    let edits = 0;
    /** An edit, and that packets meet it. */
    const edit = async (): Promise<void> => {
      const isListed = ++edits % 2 === 1;
      const ips = isListed ? [inNetwork, toggled] : [inNetwork];
      const spec = { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips } } };
      const metadata = { name: "rotation", namespace: "default" };
      const program = { apiVersion: "networking.fos1.io/v1alpha1", kind: "EBPFProgram", metadata, spec };
      cluster.server.kubectl(["apply", "-f", "-"], JSON.stringify(program));
    };
    const isInForce = (): boolean => processes.answers(toggled) === (edits % 2 === 0);
    const cross = async (): Promise<void> => {
      await edit();
      await node.until(`edit ${edits} is in force`, isInForce);
    };
    await cross();
    await using traffic = await Traffic.start(processes.near, [inNetwork, permitted], processes.far, target);
    const comes = (): number => processes.said("daemon").match(/agent comes/g)?.length ?? 0;
    const swapsOf = (): number => volumes.swaps.get(agentSecret) ?? 0;
    /** Certificates that end so soon, in both volumes. */
    const issueFor = async (lifeMs: number): Promise<number> => {
      stepMs = lifeMs - leafMs;
      for (const name of [daemonSecret, agentSecret]) {
        // A look that began before the step issues by the clock of before.
        do {
          const before = volumes.text(name, "tls.crt");
          cluster.server.kubectl(["-n", "kube-system", "delete", "secret", name]);
          await until("the next is in the volume", () => volumes.text(name, "tls.crt") !== before || undefined);
        } while (volumes.endsAt(name) > Date.now() + leafMs / 2);
      }
      return Math.max(...[daemonSecret, agentSecret].map((name) => volumes.endsAt(name)));
    };

    const [comesBefore, swapsBefore] = [comes(), swapsOf()];
    const ends = await issueFor(20_000);
    const first = ["tls.crt", "tls.key", "ca.crt"].map((file) => volumes.text(agentSecret, file)) as [
      string,
      string,
      string,
    ];
    await cross();
    stepMs = 0;
    await until(
      "both have the next",
      () => [daemonSecret, agentSecret].every((name) => volumes.endsAt(name) > ends + leafMs / 2) || undefined,
    );
    await cross();
    const lost = Buffer.from(
      (
        await cluster.admin.get<AnyObject & { readonly data: Readonly<Record<string, string>> }>({
          group: "",
          version: "v1",
          plural: "secrets",
          namespace: "kube-system",
          name: "bpfleet-ca",
        })
      ).data["tls.crt"] ?? "",
      "base64",
    ).toString();
    cluster.server.kubectl(["-n", "kube-system", "delete", "secret", "bpfleet-ca"]);
    await until("both are trusted", () => volumes.text(agentSecret, "ca.crt").length > lost.length || undefined);
    await cross();
    await until("the lost authority is trusted no more", async () => {
      await cross();
      return [daemonSecret, agentSecret].every((name) => !volumes.text(name, "ca.crt").includes(lost)) || undefined;
    });
    await cross();
    await until("the first have ended", () => Date.now() > ends || undefined);
    const socket = join(processes.sandbox.dir, "run/bpfleet-plan.sock");
    const now = ["tls.crt", "tls.key", "ca.crt"].map((file) => volumes.text(agentSecret, file)) as [
      string,
      string,
      string,
    ];
    assert.equal(await greet(socket, ...first), "cut off");
    assert.equal(await greet(socket, ...now), "served");
    const [came, swapped] = [comes() - comesBefore, swapsOf() - swapsBefore];
    t.diagnostic(`${edits} edits crossed; ${swapped} swaps of the agent's files, ${came} connections`);
    assert.ok(came <= swapped, `${came} connections for ${swapped} swaps`);

    const over = await issueFor(8000);
    volumes.hold();
    stepMs = 0;
    await until("they have ended", () => Date.now() > over || undefined);
    await edit();
    const reachable = async () =>
      (await node.state())?.status?.conditions?.find(({ type }) => type === "DaemonReachable");
    const says = (pattern: RegExp) => async (): Promise<boolean> => pattern.test((await reachable())?.message ?? "");
    await node.until("the agent says so", says(/the agent's certificate .* has ended; renew it/));
    assert.equal((await reachable())?.status, "False");
    await node.until("the daemon says so", () => /tls\.crt has ended at .*; renew it/.test(processes.said("daemon")));
    assert.equal(isInForce(), false, "what was in force stays");
    await until("the operator has renewed", async () => {
      await volumes.show(agentSecret);
      return volumes.endsAt(agentSecret) > over + leafMs / 2 || undefined;
    });
    await node.until("the agent says whose it is now", says(/the daemon's certificate has ended; renew it/));
    volumes.follow();
    await node.until("the edit is in force", isInForce);
    await node.until("the daemon is reached", async () => (await reachable())?.status === "True");
    const { sent, received } = await traffic.stop();
    assert.ok((sent[permitted]?.length ?? 0) > 1000);
    assert.deepEqual(received[inNetwork] ?? [], [], "blocked all the time: none may pass");
    assert.deepEqual(received[permitted], sent[permitted], "permitted all the time: none may be lost");
    cluster.server.kubectl(["delete", "ebpfprograms.networking.fos1.io", "rotation"]);
  },
);
