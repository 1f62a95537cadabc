import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { after, before, test } from "node:test";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { target } from "../kernel/two-processes.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";
import { ImagePrograms } from "./image-programs.ts";
import { createPods, podOf, PodCgroups } from "./pods.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
let server: ApiServer;
let node: ClusterNode;
let programs: ImagePrograms;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  install(server);
  programs = await ImagePrograms.make();
  node = await ClusterNode.make(server, { programs });
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  programs?.[Symbol.dispose]();
});

/** Whether a process of the cgroup is answered. */
function answersFrom(cgroup: string): boolean {
  const ping = `echo $$ > ${cgroup}/cgroup.procs; exec ip netns exec ${node.processes.near} ping -c 1 -W 1 ${target}`;
  try {
    execFileSync("sh", ["-c", ping], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const program = (namespace: string): string => `
apiVersion: networking.fos1.io/v1alpha1
kind: EBPFProgram
metadata: { name: egress, namespace: ${namespace} }
spec:
  type: cgroup
  settings:
    containerPolicy: { enableEgressControl: true }
    blacklist: { enabled: true, ips: ["${target}"] }
`;

test(
  "bpfd-agent finds the cgroups of pods as both styles of kubelet make them, and of no other",
  { skip },
  async () => {
    for (const namespace of ["shop", "bank"]) server.kubectl(["create", "namespace", namespace]);
    const uids: string[] = [];
    for (const [name, namespace] of [
      ["a", "shop"],
      ["b", "bank"],
    ] as const) {
      const created = await server.call("POST", `/api/v1/namespaces/${namespace}/pods`, podOf(name, namespace, "n1"));
      uids.push(String((created.body["metadata"] as { uid?: string } | undefined)?.uid));
    }
    const [shop = "", bank = ""] = uids;
    using cgroups = new PodCgroups();
    const [cgroup, foreign] = [cgroups.add(shop), cgroups.add(bank)];
    server.kubectl(["apply", "-f", "-"], program("shop"));
    await node.until("the pod's packets are dropped", () => !answersFrom(cgroup));
    assert.equal(answersFrom(foreign), true, "of another namespace");
    await node.until(
      "the node tells it",
      async () => (await node.result("EBPFProgram", "egress"))?.state === "InForce",
    );
    const links = (await node.state())?.status?.inventory?.links ?? [];
    assert.ok(links.some(({ isOurs, type }) => isOurs && type === "cgroup"));
    server.kubectl(["delete", "pod", "a", "-n", "shop", "--force", "--grace-period=0"]);
    await node.until("it is let go", () => answersFrom(cgroup));
    server.kubectl(["delete", "ebpfprograms.networking.fos1.io", "egress", "-n", "shop"]);
  },
);

test(
  "bpfd-agent and bpfd take little memory with 1,000 pods on their node, whatever others have",
  { skip },
  async (t) => {
    server.kubectl(["create", "namespace", "crowd"]);
    await createPods(server, "crowd", "n2", [0, 1000]);
    await createPods(server, "crowd", "n1", [0, 1000]);
    server.kubectl(["apply", "-f", "-"], program("crowd"));
    const waits = async () => (await node.result("EBPFProgram", "egress"))?.state === "Waiting";
    await node.until("the program is planned for", waits);
    const sample = () => (["daemon", "agent"] as const).map((name) => node.processes.memory(name).pssMib);
    let [daemon = 0, agent = 0] = sample();
    // Settled: what was needed once is given back. They run as the images have them.
    await node.until("memory is settled, below 128 MiB together", async () => {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const now = sample();
      const isSettled = Math.abs((now[0] ?? 0) - daemon) < 2 && Math.abs((now[1] ?? 0) - agent) < 2;
      [daemon = 0, agent = 0] = now;
      return isSettled && daemon + agent < 128;
    });
    t.diagnostic(`PSS: daemon ${daemon.toFixed(1)} MiB, agent ${agent.toFixed(1)} MiB`);
  },
);
