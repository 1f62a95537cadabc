import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";
import { StandaloneNode } from "./standalone-node.ts";
import { answerTcp, askTcp } from "./policy-rig/tcp-answers.ts";

const prefixes = { web: "10.1.0", db: "10.2.0", cache: "10.3.0" } as const;

const world = (netns: (pod: string) => string): string => `
${Object.entries(prefixes)
  .map(
    ([pod, prefix]) => `---
apiVersion: v1
kind: Pod
metadata: { name: ${pod}, namespace: shop, labels: { app: ${pod} }, annotations: { bpfleet.io/netns: ${netns(pod)} } }
status: { podIPs: [{ ip: ${prefix}.2 }] }
`,
  )
  .join("")}---
apiVersion: v1
kind: Service
metadata: { name: store, namespace: shop, labels: { tier: store } }
spec: { clusterIP: 10.96.0.7, ports: [{ name: sql, port: 80 }] }
---
apiVersion: v1
kind: Service
metadata: { name: kubernetes, namespace: default }
spec: { clusterIP: 10.96.0.1, ports: [{ name: https, port: 443 }] }
---
${slice("kubernetes", "default", "https", ["10.3.0.2"])}
`;

function slice(service: string, namespace: string, port: string, addresses: readonly string[]): string {
  return `apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: ${service}-1, namespace: ${namespace}, labels: { kubernetes.io/service-name: ${service} } }
addressType: IPv4
ports: [{ name: ${port}, port: 9 }]
endpoints: [${addresses.map((address) => `{ addresses: [${address}] }`).join(", ")}]
`;
}

const toDb = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Egress]
  egress: [{ to: [{ podSelector: { matchLabels: { app: db } } }], ports: [{ port: 9 }] }]
`;

const toNobody = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Egress]
  egress: [{ to: [{ podSelector: { matchLabels: { app: nobody } } }], ports: [{ port: 8 }] }]
`;

const cilium = (to: string): string => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: web, namespace: shop }
spec: { endpointSelector: { matchLabels: { app: web } }, egress: [${to}] }
`;

test("a policy about what a pod sends holds for the back ends of Services, from YAML to packets", async (context) => {
  await using node = await StandaloneNode.make();
  if (node === undefined) return context.skip("there is no cgroup v2");
  await using sandbox = new KernelSandbox();
  await using inside = new AsyncDisposableStack();
  const names = new Map<string, string>();
  const pods = new Map<string, InnerProcess>();
  for (const [pod, prefix] of Object.entries(prefixes)) {
    const { name } = sandbox.netns();
    names.set(pod, name);
    sandbox.ip(node.netns, "link", "add", pod, "type", "veth", "peer", "name", "eth0", "netns", name);
    sandbox.ip(node.netns, "address", "add", `${prefix}.1/24`, "dev", pod);
    sandbox.ip(node.netns, "link", "set", pod, "up");
    sandbox.ip(name, "address", "add", `${prefix}.2/24`, "dev", "eth0");
    sandbox.ip(name, "link", "set", "eth0", "up");
    sandbox.ip(name, "route", "add", "default", "via", `${prefix}.1`);
    pods.set(pod, inside.use(await InnerProcess.start({ netns: name })));
  }
  execFileSync("ip", ["netns", "exec", node.netns, "sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  for (const pod of ["db", "cache"]) await pods.get(pod)?.run(answerTcp, { text: pod });
  const ask = async (address: string, port: number): Promise<string> =>
    (await pods.get("web")?.run(askTcp, { address, port })) ?? "";

  await node.up();
  await node.apply(world((pod) => names.get(pod) ?? ""));
  await node.apply(slice("store", "shop", "sql", ["10.2.0.2"]));
  await node.apply(toDb);
  assert.equal(await ask("10.96.0.7", 80), "db");
  assert.equal(await ask("10.2.0.2", 9), "db", "without the Service too");
  assert.equal(await ask("10.3.0.2", 9), "silence");

  await node.apply(slice("store", "shop", "sql", ["10.3.0.2"]));
  assert.equal(await ask("10.96.0.7", 80), "silence", "another back end, which the policy is not about");
  await node.apply(slice("store", "shop", "sql", []));
  assert.equal(await ask("10.96.0.7", 80), "silence", "no back end");

  await node.do("delete", "networkpolicy", "web", "-n", "shop");
  await node.apply(slice("store", "shop", "sql", ["10.3.0.2"]));
  await node.apply(cilium("{ toServices: [{ k8sService: { serviceName: store, namespace: shop } }] }"));
  assert.equal(await ask("10.96.0.7", 80), "cache");
  assert.equal(await ask("10.2.0.2", 9), "silence");
  await node.apply(slice("store", "shop", "sql", ["10.2.0.2"]));
  assert.equal(await ask("10.96.0.7", 80), "db", "whatever is behind the Service");
  assert.equal(await ask("10.3.0.2", 9), "silence");

  await node.apply(
    cilium("{ toServices: [{ k8sServiceSelector: { selector: { matchLabels: { tier: store } }, namespace: shop } }] }"),
  );
  assert.equal(await ask("10.96.0.7", 80), "db");
  assert.equal(await ask("10.96.0.1", 443), "silence");
  await node.apply(cilium("{ toEntities: [kube-apiserver] }"));
  assert.equal(await ask("10.96.0.1", 443), "cache", "which is who serves the API here");
  assert.equal(await ask("10.96.0.7", 80), "silence");
  assert.match(await node.do("get", "cnp", "web", "-n", "shop", "-o", "yaml"), /message: in force/);

  await node.do("delete", "cnp", "web", "-n", "shop");
  await node.apply(toNobody);
  await followAdvice(node, ask, ["db"]);
  await node.apply(slice("store", "shop", "sql", ["10.2.0.2", "10.3.0.2"]));
  await node.apply(toNobody);
  await followAdvice(node, ask, ["db", "cache"]);
});

/** Explained, edited as proposed, and asked: by each edit the back end that it is about is there, until all are. */
async function followAdvice(
  node: StandaloneNode,
  ask: (address: string, port: number) => Promise<string>,
  wanted: readonly string[],
): Promise<void> {
  const explain = ["explain", "-i", "web", "--direction", "ingress", "--from", "10.1.0.2", "--to", "10.96.0.7"].concat([
    "--proto",
    "tcp",
    "--dport",
    "80",
  ]);
  assert.equal(await ask("10.96.0.7", 80), "silence");
  const left = new Set(wanted);
  let sport = 40_000;
  for (const end = performance.now() + 60_000; left.size > 0;) {
    assert.ok(performance.now() < end, `never explained: ${[...left].join()}`);
    const packet = [...explain, "--sport", String(sport++)];
    const json = await node.run([...packet, "-o", "json"]);
    if (json.exitCode === 0) continue;
    const { hooks, smallestEdit } = (JSON.parse(json.out) as { packets: [ExplainedJson] }).packets[0];
    assert.equal(smallestEdit.found, true, json.out);
    const peer = hooks.at(-1)?.steps.at(-1)?.decision?.peer ?? "";
    const pod = peer === "10.2.0.2" ? "db" : "cache";
    assert.ok(left.delete(pod), `${peer} is allowed already`);
    assert.deepEqual(smallestEdit.behind, { service: "Service shop/store", at: "10.96.0.7:80", backend: `${peer}:9` });
    const others = left.size === 0 ? [] : [pod === "db" ? "10.3.0.2:9" : "10.2.0.2:9"];
    assert.deepEqual(smallestEdit.otherBackendsDropped, wanted.length === 1 ? undefined : others);
    assert.match(smallestEdit.yaml, new RegExp(`app: ${pod}`));
    if (wanted.length === left.size + 1) {
      assert.match(smallestEdit.yaml, /port: 9\n/);
      const { out } = await node.run(packet);
      assert.match(
        out,
        /it is about back end 10\.[23]\.0\.2:9, to which Service shop\/store \(10\.96\.0\.7:80\) sends/,
      );
      assert.doesNotMatch(out, /10\.96\.0\.7\/32|no edit is proposed/);
    }
    const policy = JSON.parse(await node.do("get", "networkpolicy", "web", "-n", "shop", "-o", "json")) as Declared;
    add(policy, smallestEdit.patch[0]);
    const { kind, apiVersion, spec } = policy;
    await node.apply(JSON.stringify({ kind, apiVersion, metadata: { name: "web", namespace: "shop" }, spec }));
    assert.equal(await ask(peer, 9), pod, "a connection to the back end itself passes");
  }
  for (let round = 0; round < 4; round++) assert.ok(wanted.includes(await ask("10.96.0.7", 80)), "and by the Service");
  assert.equal((await node.run(explain)).exitCode, 0);
}

/** As a JSON patch does it. */
function add(to: object, { path, value }: Addition): void {
  const names = path.slice(1).split("/");
  const last = names.pop() ?? "";
  const at = names.reduce<unknown>((each, name) => (each as Record<string, unknown>)[name], to);
  if (Array.isArray(at)) at.push(value);
  else (at as Record<string, unknown>)[last] = value;
}

interface Addition {
  readonly path: string;
  readonly value: unknown;
}

interface ExplainedJson {
  readonly hooks: readonly {
    readonly steps: readonly { readonly decision?: { readonly peer?: string } }[];
  }[];
  readonly smallestEdit: {
    readonly found: boolean;
    readonly yaml: string;
    readonly patch: readonly [Addition];
    readonly behind?: object;
    readonly otherBackendsDropped?: readonly string[];
  };
}

interface Declared {
  readonly kind: string;
  readonly apiVersion: string;
  readonly spec: object;
}
