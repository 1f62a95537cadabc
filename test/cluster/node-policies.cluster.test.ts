import assert from "node:assert/strict";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { kinds } from "@bpfleet/kinds";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { free } from "../kernel/two-processes.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";
import { installCrds } from "./install-crds.ts";

const skip = whyNoBuild() ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root");
const kind = "CiliumClusterwideNetworkPolicy";
let server: ApiServer;
let node: ClusterNode;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  install(server);
  await installCrds(
    server,
    kinds.filter(({ group }) => group === "cilium.io"),
  );
  node = await ClusterNode.make(server, { labels: { role: "edge" } });
  await node.processes.stop("agent");
  node.startAgent({ BPFLEET_FOLLOW_CILIUM: "true" });
});

after(async () => {
  await node?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const policy = `
apiVersion: cilium.io/v2
kind: ${kind}
metadata: { name: edge }
spec:
  nodeSelector: { matchLabels: { role: edge } }
  ingress: [{ toPorts: [{ ports: [{ port: "8080", protocol: TCP }] }] }]
`;

const others = { matchLabels: { role: "core" } };

/** What is hooked, by the pins that hold it there. */
function hooks(): readonly string[] {
  const root = join(node.processes.env["BPFLEET_BPFFS"] ?? "", "bpfleet");
  const folders = ["links", "filters"].map((name) => join(root, name)).filter((folder) => existsSync(folder));
  return folders.flatMap((folder) => readdirSync(folder));
}

test("a policy with nodeSelector is in force on nodes by their labels, and its result says so", { skip }, async () => {
  const { processes } = node;
  assert.ok(processes.answers(free));
  server.kubectl(["apply", "-f", "-"], policy);
  await node.until("what the policy does not allow is dropped", () => !processes.answers(free));
  const said = async (): Promise<readonly string[]> => {
    const { state, conditions = [] } = (await node.result(kind, "edge")) ?? {};
    return [state ?? "", ...conditions.flatMap(({ type, message }) => (type === "Enforced" ? [message] : []))];
  };
  const inForce = ["InForce", "decides on the packets of the node itself"];
  await node.until("the node tells it", async () => isDeepStrictEqual(await said(), inForce));
  assert.equal(hooks().length, 2);
  const elsewhere = async (why: string): Promise<void> => {
    await node.until(`${why}: other nodes are meant`, () => processes.answers(free));
    await node.until(`${why}: the node tells that too`, async () => isDeepStrictEqual(await said(), ["NotSelected"]));
    await node.until(`${why}: its hooks are gone`, () => hooks().length === 0);
  };
  server.kubectl(["label", "node", "n1", "role=core", "--overwrite"]);
  await elsewhere("another label");
  server.kubectl(["label", "node", "n1", "role=edge", "--overwrite"]);
  await node.until("it means the node again", async () => isDeepStrictEqual(await said(), inForce));
  assert.ok(!processes.answers(free));
  server.kubectl(["patch", "ccnp", "edge", "--type=merge", "-p", JSON.stringify({ spec: { nodeSelector: others } })]);
  await elsewhere("another selector");
});
