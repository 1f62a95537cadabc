import assert from "node:assert/strict";
import { execFileSync, spawn, spawnSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { statSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, test } from "node:test";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { blocked, target } from "../kernel/two-processes.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";
import { podOf, PodCgroups } from "./pods.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const ebpfctl = join(import.meta.dirname, "../../apps/ebpfctl/src/main.ts");
const [podAddress, gateway] = ["10.1.0.2", "10.1.0.1"] as const;
let server: ApiServer;
let node: ClusterNode;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  install(server);
  node = await ClusterNode.make(server);
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const policies = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db-asks, namespace: shop }
spec:
  podSelector: { matchLabels: { app: db } }
  policyTypes: [Egress]
  egress: [{ ports: [{ port: 53, protocol: UDP }] }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: db-hears, namespace: shop, annotations: { bpfleet.io/mode: shadow } }
spec:
  podSelector: { matchLabels: { app: db } }
  policyTypes: [Ingress]
`;

/** Joins the pod to the node as a plug-in would: the node's end is called `db`. */
function connectPod(): string {
  const { sandbox, far, near } = node.processes;
  const { name } = sandbox.netns();
  sandbox.ip(far, "link", "add", "db", "type", "veth", "peer", "name", "eth0", "netns", name);
  sandbox.ip(far, "address", "add", `${gateway}/24`, "dev", "db");
  sandbox.ip(far, "link", "set", "db", "up");
  sandbox.ip(name, "address", "add", `${podAddress}/24`, "dev", "eth0");
  sandbox.ip(name, "link", "set", "eth0", "up");
  sandbox.ip(name, "route", "add", "default", "via", gateway);
  sandbox.ip(near, "route", "add", "10.1.0.0/24", "via", target);
  execFileSync("ip", ["netns", "exec", far, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  return name;
}

/** As in the pod of the daemon. */
const environment = () => ({ ...node.processes.env, BPFLEET_AGENT_SOCKET: agentSocket() });
const agentSocket = () => join(node.processes.sandbox.dir, "run/agent.sock");

function ask(...words: readonly string[]): { readonly out: string; readonly code: number | null } {
  const { stdout, stderr, status } = spawnSync(process.execPath, [ebpfctl, ...words], {
    env: environment(),
    encoding: "utf8",
  });
  return { out: `${stdout}${stderr}`, code: status };
}

test("ebpfctl tells of an agent of a cluster what it tells of one over a directory", { skip }, async () => {
  await node.processes.stop("agent");
  node.startAgent({ BPFLEET_AGENT_SOCKET: agentSocket() });
  server.kubectl(["create", "namespace", "shop"]);
  const { body } = await server.call("POST", "/api/v1/namespaces/shop/pods", podOf("db", "shop", "n1"));
  const uid = String((body["metadata"] as { readonly uid?: string } | undefined)?.uid);
  const status = { phase: "Running", podIP: podAddress, podIPs: [{ ip: podAddress }], qosClass: "BestEffort" };
  const merge = { "content-type": "application/merge-patch+json" };
  await server.call("PATCH", "/api/v1/namespaces/shop/pods/db/status", { status }, merge);
  using cgroups = new PodCgroups();
  const netns = connectPod();
  const enter = `echo $$ >${cgroups.add(uid)}/cgroup.procs; exec sleep infinity`;
  const inside = spawn("setpriv", ["--pdeathsig", "KILL", "nsenter", `--net=/run/netns/${netns}`, "sh", "-c", enter]);
  await using _pod = ending(inside);
  const inPod = (command: string): void => {
    spawnSync("nsenter", [`--net=/run/netns/${netns}`, "bash", "-c", command], { stdio: "ignore" });
  };
  server.kubectl(["apply", "-f", "-"], policies);
  for (const name of ["db-asks", "db-hears"])
    await node.until(name, async () => (await node.result("NetworkPolicy", name))?.state === "InForce");
  const { mode, uid: owner } = statSync(agentSocket());
  assert.deepEqual([mode & 0o777, owner], [0o600, 65532]);

  inPod(`echo hello >/dev/udp/${gateway}/53`);
  execFileSync("ip", ["netns", "exec", node.processes.near, "ping", "-c1", "-W5", "-I", blocked, podAddress]);

  const dumped = ask("policy", "dump");
  assert.match(dumped.out, /shop\/db[^]*NetworkPolicy shop\/db-asks/);
  const { out: flows } = ask("conntrack", "dump", "-n", "shop", "--all", "-o", "wide");
  assert.match(flows, /shop\/db .*53.*NetworkPolicy shop\/db-asks/);
  const { out: tried } = ask("policy", "shadow");
  assert.match(tried, new RegExp(`shop/db +ingress +drop .*${blocked}`));
  const { out: objects } = ask("get", "networkpolicies", "-n", "shop");
  assert.match(objects, /db-asks[^]*db-hears/);

  const packet = ["--from", podAddress, "--to", gateway, "--proto", "tcp", "--dport", "80"];
  const explained = ask("explain", "-i", "db", "--direction", "ingress", ...packet);
  assert.equal(explained.code, 3, explained.out);
  assert.match(explained.out, /isolated by NetworkPolicy shop\/db-asks spec\b/);
  assert.match(
    explained.out,
    /the smallest edit that lets it through: add to NetworkPolicy shop\/db-asks spec\.egress/,
  );

  const words = ["trace", "networkpolicy", "db-asks", "-n", "shop", "--drops", "--count", "1"];
  const traced = spawn(process.execPath, [ebpfctl, ...words], {
    env: environment(),
    stdio: ["ignore", "pipe", "inherit"],
  });
  await using _traced = ending(traced);
  const said = text(traced.stdout);
  await node.until("a drop is told", () => {
    inPod(`echo hello >/dev/udp/${gateway}/99`);
    return traced.exitCode !== null;
  });
  assert.match(
    await said,
    new RegExp(
      `drop db ${podAddress}:\\d+ \\(pod shop/db\\) > ${gateway}:99 \\(this node\\) udp.*NetworkPolicy shop/db-asks`,
    ),
  );
});

test("an agent of a cluster that cannot listen says so, and serves", { skip }, async () => {
  await node.processes.stop("agent");
  node.startAgent({ BPFLEET_AGENT_SOCKET: "/proc/agent.sock" });
  await node.until("it serves", () => /"message":"serving"/.test(node.processes.said("agent")));
  assert.match(node.processes.said("agent"), /answer ebpfctl at \/proc\/agent\.sock: /);
  const { out, code } = ask("policy", "dump");
  assert.equal(code, 1, out);
  assert.match(out, /ask the agent at .*agent\.sock: nobody answers/);
});

function ending(child: ChildProcess): AsyncDisposable {
  return {
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      const ended = once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}
