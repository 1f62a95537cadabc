import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { InnerProcess, KernelSandbox } from "@bpfleet/native/testing";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { isWholeClusterBuilt } from "../../tools/build-whole-cluster.ts";
import { StandaloneNode } from "../kernel/standalone-node.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { startKubeProxy } from "./kube-proxy.ts";
import { answerTcp, askTcp } from "../kernel/policy-rig/tcp-answers.ts";

const skip = whyNoBuild() ?? (isWholeClusterBuilt() ? undefined : "kube-proxy is not built");
const nodeName = "n1";
const families = ["ipv4", "ipv6"] as const;
type Family = (typeof families)[number];
type Addresses = Readonly<Record<Family, string>>;

/** Each by a link of its own to the node, which is the first address there. */
const places = {
  web: { ipv4: "10.1.0.2", ipv6: "fd01::2" },
  db: { ipv4: "10.2.0.2", ipv6: "fd02::2" },
  cache: { ipv4: "10.3.0.2", ipv6: "fd03::2" },
  outside: { ipv4: "192.0.2.2", ipv6: "2001:db8::2" },
} as const satisfies Readonly<Record<string, Addresses>>;
type Place = keyof typeof places;
const pods = ["web", "db", "cache"] as const;
const node: Addresses = { ipv4: "192.0.2.1", ipv6: "2001:db8::1" };
const service: Addresses = { ipv4: "10.96.0.7", ipv6: "fd96::7" };
const nodePort = 30_080;

const gatewayOf = (address: string): string => address.replace(/2$/, "1");

/** What kube-proxy and the node hear of alike. */
function servicesYaml(backends: readonly Place[]): string {
  const slices = families.map(
    (family) => `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: store-${family}, namespace: shop, labels: { kubernetes.io/service-name: store } }
addressType: ${family === "ipv4" ? "IPv4" : "IPv6"}
ports: [{ name: http, port: 9 }]
endpoints: [${backends.map((name) => `{ addresses: ["${places[name][family]}"], conditions: { ready: true } }`).join(", ")}]
`,
  );
  return `apiVersion: v1
kind: Service
metadata: { name: store, namespace: shop }
spec:
  type: NodePort
  clusterIP: ${service.ipv4}
  clusterIPs: ["${service.ipv4}", "${service.ipv6}"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  ports: [{ name: http, port: 80, targetPort: 9, nodePort: ${nodePort} }]
${slices.join("")}`;
}

const podYaml = (name: string, netns: string): string => `---
apiVersion: v1
kind: Pod
metadata: { name: ${name}, namespace: shop, labels: { app: ${name} }, annotations: { bpfleet.io/netns: ${netns} } }
`;

const asks = (app: string): string => `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: asks, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Egress]
  egress: [{ to: [{ podSelector: { matchLabels: { app: ${app} } } }], ports: [{ port: 9 }] }]
`;

const heard = (rule: string): string => `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: heard, namespace: shop }
spec: { endpointSelector: { matchLabels: { app: db } }, ingress: [${rule}] }
`;

async function declareNode(server: ApiServer): Promise<void> {
  const created = await server.call("POST", "/api/v1/nodes", {
    apiVersion: "v1",
    kind: "Node",
    metadata: { name: nodeName },
  });
  assert.equal(created.status, 201, JSON.stringify(created.body));
  const addresses = families.map((family) => ({ type: "InternalIP", address: node[family] }));
  const patch = { "Content-Type": "application/merge-patch+json" };
  await server.call("PATCH", `/api/v1/nodes/${nodeName}/status`, { status: { addresses } }, patch);
  server.kubectl(["create", "namespace", "shop"]);
}

/** A server of each pod tells who asks; `outside` is nobody's. */
async function connectAll(
  standalone: StandaloneNode,
  sandbox: KernelSandbox,
  inside: AsyncDisposableStack,
): Promise<{ readonly netns: ReadonlyMap<Place, string>; readonly processes: ReadonlyMap<Place, InnerProcess> }> {
  const netns = new Map<Place, string>();
  const processes = new Map<Place, InnerProcess>();
  for (const [name, addresses] of Object.entries(places) as [Place, Addresses][]) {
    const { name: own } = sandbox.netns();
    netns.set(name, own);
    sandbox.ip(standalone.netns, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", own);
    sandbox.ip(standalone.netns, "link", "set", name, "up");
    sandbox.ip(own, "link", "set", "eth0", "up");
    for (const family of families) {
      const [length, more] = family === "ipv4" ? [24, []] : [64, ["nodad"]];
      const address = addresses[family];
      sandbox.ip(standalone.netns, "address", "add", `${gatewayOf(address)}/${length}`, "dev", name, ...more);
      sandbox.ip(own, "address", "add", `${address}/${length}`, "dev", "eth0", ...more);
      sandbox.ip(own, ...(family === "ipv6" ? ["-6"] : []), "route", "add", "default", "via", gatewayOf(address));
    }
    processes.set(name, inside.use(await InnerProcess.start({ netns: own })));
  }
  const settings = ["net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"];
  execFileSync("ip", ["netns", "exec", standalone.netns, "sysctl", "-qw", ...settings]);
  for (const name of ["db", "cache"] as const)
    await processes.get(name)?.run(answerTcp, { text: name, tellsSource: true });
  return { netns, processes };
}

for (const mode of ["iptables", "nftables"])
  test(
    `policies from YAML hold for a Service and its node port beside kube-proxy in ${mode} mode, IPv4 and IPv6`,
    { skip },
    async (context) => {
      await using standalone = await StandaloneNode.make();
      if (standalone === undefined) return context.skip("there is no cgroup v2");
      const range = "--service-cluster-ip-range=10.96.0.0/16,fd96::/112";
      await using server = await startApiServer(buildControlPlane(), [range]);
      await declareNode(server);
      await using sandbox = new KernelSandbox();
      await using inside = new AsyncDisposableStack();
      const { netns, processes } = await connectAll(standalone, sandbox, inside);
      const flags = ["--node-name", nodeName];
      await standalone.up("", ...flags);
      const place = {
        inside: await standalone.process(),
        netns: standalone.netns,
        nodeName,
        podRange: "10.0.0.0/8,fd00::/14",
      };
      await using _proxy = await startKubeProxy(place, server, mode);
      const declare = async (yaml: string): Promise<void> => {
        server.kubectl(["apply", "-f", "-"], yaml);
        await standalone.apply(yaml);
      };
      const ask = async (from: Place, address: string, port: number): Promise<string> =>
        (await processes.get(from)?.run(askTcp, { address, port })) ?? "";
      const ofBoth = async (from: Place, to: Addresses, port: number): Promise<readonly string[]> => [
        await ask(from, to.ipv4, port),
        await ask(from, to.ipv6, port),
      ];
      /** As kube-proxy has it some time after it was told. */
      const until = async (from: Place, to: Addresses, port: number, wanted: readonly string[]): Promise<void> => {
        for (let tries = 0; ; tries++) {
          const met = await ofBoth(from, to, port);
          if (JSON.stringify(met) === JSON.stringify(wanted)) return;
          assert.ok(tries < 100, `${from} hears ${met.join(" and ")}, not ${wanted.join(" and ")}`);
          await sleep(300);
        }
      };
      const silence = ["silence", "silence"];
      /** Who answers, and whom it sees. */
      const told = (name: Place, by: Addresses): readonly string[] =>
        families.map((family) => `${name} to ${by[family]}`);
      const masqueraded: Addresses = { ipv4: gatewayOf(places.db.ipv4), ipv6: gatewayOf(places.db.ipv6) };

      await standalone.apply(`apiVersion: v1
kind: Namespace
metadata: { name: shop }
${pods.map((pod) => podYaml(pod, netns.get(pod) ?? "")).join("")}`);
      await declare(servicesYaml(["db"]));
      await until("web", service, 80, told("db", places.web));
      await until("outside", node, nodePort, told("db", masqueraded));

      await standalone.apply(asks("db"));
      assert.deepEqual(await ofBoth("web", service, 80), told("db", places.web), "the back end, whatever the Service");
      assert.deepEqual(await ofBoth("web", node, nodePort), told("db", places.web), "the same by the node port");
      await standalone.apply(asks("cache"));
      assert.deepEqual(await ofBoth("web", service, 80), silence);
      assert.deepEqual(await ofBoth("web", node, nodePort), silence);
      await declare(servicesYaml(["cache"]));
      await until("web", service, 80, told("cache", places.web));
      await declare(servicesYaml(["db"]));
      await standalone.do("delete", "networkpolicy", "asks", "-n", "shop");
      await until("outside", node, nodePort, told("db", masqueraded));

      // Whoever comes by the node port is the node itself.
      await standalone.apply(heard("{ fromEndpoints: [{ matchLabels: { app: nobody } }] }"));
      assert.deepEqual(await ofBoth("outside", node, nodePort), told("db", masqueraded), "it reaches its pods");
      assert.deepEqual(await ofBoth("outside", places.db, 9), silence, "not so who comes without it");
      await standalone.stop();
      await standalone.up("", ...flags, "--host-access", "never");
      await standalone.tried();
      assert.deepEqual(await ofBoth("outside", node, nodePort), silence);
      const own = families.map((family) => `${places.outside[family]}/${family === "ipv4" ? 32 : 128}`);
      await standalone.apply(heard(`{ fromCIDR: [${own.map((cidr) => `"${cidr}"`).join(", ")}] }`));
      assert.deepEqual(await ofBoth("outside", node, nodePort), silence, "its own address is not seen");
      assert.deepEqual(await ofBoth("outside", places.db, 9), told("db", places.outside));
      await standalone.apply(heard("{ fromEntities: [host] }"));
      assert.deepEqual(await ofBoth("outside", node, nodePort), told("db", masqueraded));
      assert.deepEqual(await ofBoth("outside", places.db, 9), silence);
    },
  );
