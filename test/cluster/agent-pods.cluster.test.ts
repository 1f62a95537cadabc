import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { after, before, test } from "node:test";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { bundle } from "../../tools/images/bundle.ts";
import { target, type Programs } from "../kernel/two-processes.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const root = join(import.meta.dirname, "../..");
const mount = findCgroupMount();
let server: ApiServer;
let node: ClusterNode;
/** What the images hold: sources would be measured with their compiler. */
let image = "";

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  install(server);
  image = await makeBundle();
  node = await ClusterNode.make(server, { programs: programsOf(image) });
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  rmSync(image, { recursive: true, force: true });
});

async function makeBundle(): Promise<string> {
  const home = mkdtempSync(join(tmpdir(), "bpfleet-bundle-"));
  chmodSync(home, 0o755);
  const entries = { daemon: "apps/daemon/src/main.ts", agent: "apps/agent/src/main.ts" };
  const { files } = await bundle(root, entries, home);
  mkdirSync(join(home, "app"));
  for (const [name, bytes] of files) writeFileSync(join(home, "app", name), bytes);
  writeFileSync(join(home, "app/package.json"), '{"type":"module"}\n');
  cpSync(join(root, "build/native"), join(home, "build/native"), { recursive: true });
  return home;
}

/** As the images start them. */
function programsOf(home: string): Programs {
  const run = (app: string) => [process.execPath, "--max-semi-space-size=2", join(home, "app", app)];
  return { daemon: run("daemon.js"), agent: run("agent.js") };
}

function podOf(name: string, namespace: string, nodeName: string): object {
  const containers = [{ name: "c", image: "example.com/none:1", env: [{ name: "SOME", value: "x".repeat(500) }] }];
  const labels = { app: name.replace(/-\d+$/, ""), "pod-template-hash": "5d8f7b9c6d" };
  return { apiVersion: "v1", kind: "Pod", metadata: { name, namespace, labels }, spec: { nodeName, containers } };
}

async function createPods(namespace: string, nodeName: string, count: number): Promise<void> {
  const path = `/api/v1/namespaces/${namespace}/pods`;
  const waiting = Array.from({ length: count }, (_, at) => podOf(`web-${nodeName}-${at}`, namespace, nodeName));
  const work = async (): Promise<void> => {
    for (let pod = waiting.pop(); pod !== undefined; pod = waiting.pop())
      assert.equal((await server.call("POST", path, pod)).status, 201);
  };
  await Promise.all(Array.from({ length: 16 }, work));
}

function findCgroupMount(): string | undefined {
  const lines = readFileSync("/proc/self/mounts", "utf8").split("\n");
  return lines.map((line) => line.split(" ")).find(([, , type]) => type === "cgroup2")?.[1];
}

/** As a kubelet makes them; gone with the test, and those above it when nobody else is in them. */
function makeCgroup(path: string): Disposable & { readonly path: string } {
  assert.ok(mount);
  const folder = join(mount, path);
  mkdirSync(folder, { recursive: true });
  return {
    path: folder,
    [Symbol.dispose]() {
      for (let each = folder; each !== mount; each = dirname(each)) {
        try {
          rmdirSync(each);
        } catch {
          return;
        }
      }
    },
  };
}

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
    using cgroup = makeCgroup(`kubepods/besteffort/pod${shop}`);
    using foreign = makeCgroup(`kubepods/besteffort/pod${bank}`);
    server.kubectl(["apply", "-f", "-"], program("shop"));
    await node.until("the pod's packets are dropped", () => !answersFrom(cgroup.path));
    assert.equal(answersFrom(foreign.path), true, "of another namespace");
    await node.until(
      "the node tells it",
      async () => (await node.result("EBPFProgram", "egress"))?.state === "InForce",
    );
    const links = (await node.state())?.status?.inventory?.links ?? [];
    assert.ok(links.some(({ isOurs, type }) => isOurs && type === "cgroup"));
    server.kubectl(["delete", "pod", "a", "-n", "shop", "--force", "--grace-period=0"]);
    await node.until("it is let go", () => answersFrom(cgroup.path));
    server.kubectl(["delete", "ebpfprograms.networking.fos1.io", "egress", "-n", "shop"]);
  },
);

test(
  "bpfd-agent and bpfd take little memory with 1,000 pods on their node, whatever others have",
  { skip },
  async (t) => {
    server.kubectl(["create", "namespace", "crowd"]);
    await createPods("crowd", "n2", 1000);
    await createPods("crowd", "n1", 1000);
    server.kubectl(["apply", "-f", "-"], program("crowd"));
    const waits = async () => (await node.result("EBPFProgram", "egress"))?.state === "Waiting";
    await node.until("the program is planned for", waits);
    const sample = () => (["daemon", "agent"] as const).map((name) => pssMib(node.processes.pid(name)));
    let [daemon = 0, agent = 0] = sample();
    // Settled: what was needed once is given back.
    await node.until("memory is settled", async () => {
      await new Promise((resolve) => setTimeout(resolve, 3000));
      const now = sample();
      const isSettled = Math.abs((now[0] ?? 0) - daemon) < 2 && Math.abs((now[1] ?? 0) - agent) < 2;
      [daemon = 0, agent = 0] = now;
      return isSettled;
    });
    t.diagnostic(`PSS: daemon ${daemon.toFixed(1)} MiB, agent ${agent.toFixed(1)} MiB`);
    assert.ok(daemon + agent < 128 * 2, `${daemon} + ${agent} MiB`);
  },
);

/** Proportional set size of a process; `nsenter` and `setpriv` become what they start. */
function pssMib(pid: number): number {
  const [, kib = "0"] = /^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8")) ?? [];
  return Number(kib) / 1024;
}
