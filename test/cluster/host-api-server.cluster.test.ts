import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { connectTcp, InnerProcess } from "@bpfleet/native/testing";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { target } from "../kernel/two-processes.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";
import { installCrds } from "./install-crds.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const ebpfctl = join(import.meta.dirname, "../../apps/ebpfctl/src/main.ts");
/** Where the API server says that it is, and where it is not: all of them on the other end of the node's cable. */
const [first, second, elsewhere] = ["10.9.0.21", "10.9.0.22", "10.9.0.23"] as const;
const clusterAddress = "10.96.0.1";
let server: ApiServer;
let node: ClusterNode;
let there: InnerProcess;
let here: InnerProcess;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane(), [`--advertise-address=${first}`]);
  install(server);
  await installCrds(
    server,
    kinds.filter(({ group }) => group === "cilium.io"),
  );
  node = await ClusterNode.make(server);
  const { near, far, sandbox } = node.processes;
  for (const address of [first, second, elsewhere]) sandbox.ip(near, "address", "add", `${address}/24`, "dev", "v0");
  there = await InnerProcess.start({ netns: near });
  here = await InnerProcess.start({ netns: far });
  await there.run(
    async ({ port }) => {
      const { createServer } = process.getBuiltinModule("node:net");
      const listener = createServer((socket) => socket.on("error", () => undefined).resume());
      await new Promise<void>((done) => listener.listen(port, "0.0.0.0", done));
    },
    { port: apiPort() },
  );
  await node.processes.stop("agent");
  node.startAgent({ BPFLEET_FOLLOW_CILIUM: "true", BPFLEET_AGENT_SOCKET: agentSocket() });
});

after(async () => {
  await there?.[Symbol.asyncDispose]();
  await here?.[Symbol.asyncDispose]();
  await node?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const apiPort = (): number => Number(new URL(server.url).port);
const agentSocket = (): string => join(node.processes.sandbox.dir, "run/agent.sock");

const policy = `
apiVersion: cilium.io/v2
kind: CiliumClusterwideNetworkPolicy
metadata: { name: closed }
spec:
  nodeSelector: {}
  egressDeny: [{ toEntities: [all] }]
`;

/** By real packets of the node. */
async function reaches(address: string): Promise<boolean> {
  return (await connectTcp(here, { address, port: apiPort() }, 1)).length === 0;
}

function explain(address: string, port: number): string {
  const packet = ["--from", target, "--to", address, "--proto", "tcp", "--dport", `${port}`];
  const { stdout, stderr } = spawnSync(
    process.execPath,
    [ebpfctl, "explain", "-i", "eth0", "--direction", "egress", ...packet],
    { env: { ...node.processes.env, BPFLEET_AGENT_SOCKET: agentSocket() }, encoding: "utf8" },
  );
  return `${stdout}${stderr}`;
}

const failSafe = /this node reaches the API server/;

function advertised(): string {
  const what = ["get", "endpointslices", "-n", "default", "-l", "kubernetes.io/service-name=kubernetes"];
  return server.kubectl([...what, "-o", "jsonpath={.items[*].endpoints[*].addresses[*]}:{.items[*].ports[*].port}"]);
}

test(
  "a policy that denies all that a node sends leaves it the way to the API server, also when that moves",
  { skip },
  async () => {
    assert.ok(await reaches(first));
    server.kubectl(["apply", "-f", "-"], policy);
    await node.until("the policy is in force", async () => {
      const result = await node.result("CiliumClusterwideNetworkPolicy", "closed");
      return result?.state === "InForce";
    });
    assert.equal(advertised(), `${first}:${apiPort()}`);
    assert.deepEqual([await reaches(first), await reaches(second), await reaches(elsewhere)], [true, false, false]);
    for (const [address, port] of [
      [first, apiPort()],
      [clusterAddress, 443],
    ] as const)
      assert.match(explain(address, port), failSafe);
    assert.doesNotMatch(explain(elsewhere, apiPort()), failSafe);

    await server.kill();
    await server.restart([`--advertise-address=${second}`]);
    await node.until("the node reaches the API server at its other address", () => reaches(second));
    assert.match(explain(second, apiPort()), failSafe);
    await node.until(
      "the API server tells of the other address alone",
      () => advertised() === `${second}:${apiPort()}`,
    );
    await node.until("what it left is closed", async () => !(await reaches(first)));
    assert.doesNotMatch(explain(first, apiPort()), failSafe);
  },
);
