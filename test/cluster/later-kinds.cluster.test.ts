import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import { boundNodeState, kinds } from "@bpfleet/kinds";
import type { DefinedKind } from "@bpfleet/kinds";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";
import type { ApiServer } from "./api-server.ts";
import { compare, compareAll, faultyFields, objectOf, pathOf } from "./compare.ts";
import { installCrds } from "./install-crds.ts";
import {
  containerPolicySpecs,
  felixSpecs,
  natPolicySpecs,
  networkPolicySpecs,
  podConfigSpecs,
  sliceSpecs,
  trafficControlSpecs,
} from "./later-specs.ts";

const skip = whyNoBuild();
const specs = {
  EBPFTrafficControl: trafficControlSpecs,
  EBPFNATPolicy: natPolicySpecs,
  EBPFContainerPolicy: containerPolicySpecs,
  EBPFNetworkPolicy: networkPolicySpecs,
  PodConfigMapConfig: podConfigSpecs,
  FelixConfiguration: felixSpecs,
  AddressSlice: sliceSpecs,
} as const;
let server: ApiServer | undefined;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  await installCrds(server, [...Object.keys(specs), "NodeState"].map(kindOf));
});

after(() => server?.[Symbol.asyncDispose]());

function api(): ApiServer {
  return server ?? assert.fail("the API server does not run");
}

function kindOf(name: string): DefinedKind {
  return kinds.find(({ kind }) => kind === name) ?? assert.fail(name);
}

test("CRDs and parse decide alike on specs that break each rule of a kind that is served later", { skip }, async () => {
  for (const [name, cases] of Object.entries(specs)) await compareAll(api(), kindOf(name), cases);
});

/** Nearly always one that is fine: of many faults the first would hide the others. */
function mostly(fine: readonly unknown[], ...faulty: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.oneof(
    { weight: 9, arbitrary: fc.constantFrom(...fine) },
    { weight: 1, arbitrary: fc.constantFrom(...faulty) },
  );
}

/** Any of these fields, or none. */
function some(fields: Readonly<Record<string, fc.Arbitrary<unknown>>>): fc.Arbitrary<unknown> {
  return fc.record(fields, { requiredKeys: [] });
}

function pick(...values: readonly unknown[]): fc.Arbitrary<unknown> {
  return fc.constantFrom(...values);
}

function few(item: fc.Arbitrary<unknown>): fc.Arbitrary<unknown> {
  return fc.array(item, { maxLength: 3 });
}

const flag = mostly([true, false], "true", null);
const rate = mostly(["1Gbit", "5Mbit", "100Mbps", "1.5g"], "0", "0Mbit", "fast", 100);
const size = mostly(["15kb", "1500"], "0b", "15kbit", 15);
const number = mostly([0, 1, 7, 63, 64, 65535, 65536, -1], 1.5, "1", null);
const port = mostly([0, 1, 53, 80, 65535, 65536, -1], "80", 1.5);
const portText = mostly([0, 80, 65536, "80", "80-90", "90-80", "0-5", "00080", "80-", "http"], 1.5, null);
const prefix = pick(
  "10.0.0.0/8",
  "10.1.2.3",
  "10.1.2.3/8",
  "fd00::/8",
  "::1",
  "10.0.0.0/33",
  "x",
  "",
  "::ffff:1.2.3.4",
);
const selector = some({
  matchLabels: fc.dictionary(pick("a", "b") as fc.Arbitrary<string>, pick("x", "", "-")),
  matchExpressions: few(
    some({ key: mostly(["a"], ""), operator: mostly(["In", "Exists"], "in"), values: few(pick("x")) }),
  ),
});
const ports = few(some({ protocol: mostly(["TCP", "UDP"], "ICMP", "tcp"), port, endPort: port }));
const ipBlock = fc.record({ cidr: prefix, except: few(prefix) }, { requiredKeys: ["cidr"] });
const mappings = few(
  fc.record({ protocol: mostly(["tcp", "udp"], "TCP"), externalPort: port, internalIP: prefix, internalPort: port }),
);

const arbitraries: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  EBPFTrafficControl: some({
    interface: mostly(["eth0"], "eth 0"),
    direction: mostly(["ingress", "egress"], "in"),
    queueingDiscipline: some({
      type: mostly(["htb", "tbf", "sfq", "hfsc"], "cake"),
      rate,
      burst: size,
      latency: pick("50ms", "50", "1m30s"),
      quantum: number,
    }),
    filters: few(
      some({
        priority: number,
        protocol: mostly(["tcp", "icmp", "all", "ip"], "TCP"),
        match: some({ srcIP: prefix, dstIP: prefix, srcPort: portText, dstPort: portText, dscp: number, mark: number }),
        action: some({
          type: mostly(["pass", "drop", "mark", "police", "redirect"], "x"),
          mark: number,
          police: some({ rate, burst: size, exceed: mostly(["drop", "remark"], "x") }),
          redirect: pick("eth1", "a/b"),
        }),
        classID: pick(1, 2, 0),
      }),
    ),
    classes: few(some({ id: pick(1, 2, 0), rate, ceiling: rate, priority: number, burst: size })),
    ebpfProgram: pick("p", ""),
  }),
  EBPFNATPolicy: some({
    type: mostly(["snat", "dnat", "masquerade", "full"], "nat66"),
    interface: mostly(["eth0"], ""),
    externalIP: pick("203.0.113.10", "2001:db8::1", "203.0.113.0/24", ""),
    sourceAddresses: few(prefix),
    portMappings: mappings,
    enableTracking: flag,
    priority: number,
  }),
  EBPFContainerPolicy: some({
    selector: some({ podSelector: selector, namespaceSelector: selector }),
    resourceLimits: some({
      enableAccounting: flag,
      bandwidthLimits: some({ ingressBitsPerSecond: number, burstBytes: number }),
      connectionLimits: some({ maxConnections: number, maxConnectionRate: number }),
    }),
    networkControls: some({
      enableEgressControl: flag,
      defaultIngressAction: mostly(["allow", "deny"], "log"),
      egressRules: few(some({ ipBlock, ports, action: mostly(["allow", "deny", "log"], "mark") })),
      ingressRules: few(some({ ipBlock, ports, unknown: flag })),
    }),
    deviceControl: some({
      enableDeviceControl: flag,
      allowedDevices: few(some({ deviceType: mostly(["char", "block"], "c"), major: number, minor: number })),
    }),
    priority: number,
  }),
  EBPFNetworkPolicy: some({
    policyType: mostly(["filtering", "nat", "qos"], "x"),
    selector: some({ podSelector: selector, nodeSelector: selector }),
    priority: number,
    ingress: few(
      some({
        from: few(some({ ipBlock, podSelector: selector, namespaceSelector: selector })),
        ports,
        action: mostly(["allow", "deny", "mark"], "x"),
        mark: number,
        rateLimit: some({ bitsPerSecond: number, burstSize: number }),
      }),
    ),
    egress: few(some({ to: few(some({ ipBlock })), ports, to2: flag })),
    nat: some({ type: pick("snat", "dnat", "masquerade"), externalIP: prefix, portMappings: mappings }),
    stateful: flag,
  }),
  PodConfigMapConfig: some({
    podSelector: selector,
    labelsToInclude: few(pick("a", "b", "")),
    ebpfConfig: some({
      syscallMonitoring: some({ enabled: flag, syscallNames: few(pick("read", "write", "Read", "")) }),
      l4Firewall: some({
        enabled: flag,
        allowedPorts: few(port),
        blockedPorts: few(port),
        defaultAction: mostly(["allow", "block"], "deny"),
      }),
      metricsExport: some({ enabled: flag, updateInterval: pick("30s", "1m30s", "999ms", "0.5h", "30", "s", "") }),
    }),
  }),
  FelixConfiguration: some({
    bpfEnabled: flag,
    bpfLogLevel: pick("Debug", "debug", "", "loud"),
    bpfConnectTimeLoadBalancing: pick("TCP", "Disabled", "tcp"),
    bpfPSNATPorts: pick("20000:29999", 20000, "x", "29999:20000", "70000:70001", -1),
    bpfMapSizeRoute: number,
    bpfDSROptoutCIDRs: few(prefix),
    bpfDataIfacePattern: pick("^eth", "^(eth", ""),
    bpfConntrackTimeouts: some({ udpTimeout: pick("60s", "Auto", "auto", "60", "") }),
    xdpRefreshInterval: pick("90s", "", "90"),
    ipv6Support: flag,
  }),
};

/** Without these an API server looks no further. */
const needed: Readonly<Record<string, object>> = {
  EBPFTrafficControl: { interface: "eth0", direction: "egress" },
  EBPFNATPolicy: { type: "dnat", interface: "eth0", externalIP: "203.0.113.10" },
  EBPFContainerPolicy: { selector: { podSelector: {} } },
  EBPFNetworkPolicy: { policyType: "filtering" },
};

for (const [name, spec] of Object.entries(arbitraries)) {
  test(`CRDs and parse decide alike on any ${name}`, { skip }, async () => {
    await fc.assert(
      fc.asyncProperty(spec, async (value) => {
        await compare(api(), kindOf(name), { ...needed[name], ...(value as object) });
      }),
      { numRuns: 300 },
    );
  });
}

test("AddressSlice keeps what it is of, whatever is written to it", { skip }, async () => {
  const kind = kindOf("AddressSlice");
  const spec = {
    of: "Pod",
    namespace: "a",
    nodes: ["w"],
    labelSets: [{ labels: {} }],
    addresses: [{ ip: "10.0.0.1", set: 0, node: 0 }],
  };
  const made = await api().call("POST", pathOf(kind), objectOf(kind, spec, "kept"));
  assert.equal(made.status, 201, String(made.body["message"]));
  const change = async (fields: object): Promise<readonly string[]> => {
    const answer = await api().call("PUT", pathOf(kind, "/kept?dryRun=All"), {
      ...made.body,
      spec: { ...(made.body["spec"] as object), ...fields },
    });
    assert.equal(answer.status === 200, faultyFields(answer).length === 0, String(answer.body["message"]));
    return faultyFields(answer);
  };
  assert.deepEqual(await change({ addresses: [] }), []);
  assert.deepEqual(await change({ namespace: "b" }), ["spec.namespace"]);
  assert.deepEqual(await change({ of: "Node", namespace: undefined }), ["spec.of"]);
});

test("AddressSlice of 1,000 addresses is taken, and one more is not", { skip }, async () => {
  const slice = (count: number): unknown => ({
    of: "Pod",
    namespace: "a",
    nodes: Array.from({ length: 1000 }, (_, at) => `worker-${at}`),
    labelSets: Array.from({ length: 1000 }, (_, at) => ({ labels: { app: `a${at}` } })),
    addresses: Array.from({ length: count }, (_, at) => ({
      ip: `10.0.${at >> 8}.${at & 255}`,
      set: at % 1000,
      node: at % 1000,
    })),
  });
  assert.deepEqual(faultyFields(await compare(api(), kindOf("AddressSlice"), slice(1000))), []);
  assert.deepEqual(faultyFields(await compare(api(), kindOf("AddressSlice"), slice(1001))), ["spec.addresses"]);
});

test("NodeState is taken as large as it may become, and notes little of who wrote it", { skip }, async () => {
  const kind = kindOf("NodeState");
  const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "n".repeat(63), name: "x".repeat(253) };
  const conditions = Array.from({ length: 16 }, (_, at) => ({
    type: `T${at}`,
    status: "False" as const,
    reason: "X",
    message: "é".repeat(600),
  }));
  const numbers = Object.fromEntries(Array.from({ length: 300 }, (_, at) => [`/metrics/${at}`, 2 ** 53 - 1]));
  const ids = Array.from({ length: 2000 }, (_, id) => id);
  const status = boundNodeState({
    observedAt: "2026-01-01T00:00:00Z",
    results: ids.map((id) => ({ ...owner, uid: `${id}`, state: "Failed" as const, conditions, numbers })),
    programs: ids.map((id) => ({ id, type: "xdp", name: "p", isOurs: true, owner })),
    maps: ids.map((id) => ({ id, type: "hash", name: "m", isOurs: true, owner })),
    links: ids.map((id) => ({ id, type: "xdp", programId: id, target: "eth0", isOurs: true, owner })),
  });
  const made = await api().call("POST", pathOf(kind), objectOf(kind, undefined, "large"));
  assert.equal(made.status, 201, String(made.body["message"]));
  const answer = await api().call(
    "PATCH",
    pathOf(kind, "/large/status?fieldManager=bpfleet-agent&force=true"),
    { ...objectOf(kind, undefined, "large"), status },
    { "content-type": "application/apply-patch+yaml" },
  );
  assert.equal(answer.status, 200, String(answer.body["message"]));
  assert.deepEqual(answer.body["status"], JSON.parse(JSON.stringify(status)));
  const { managedFields } = answer.body["metadata"] as { managedFields: unknown };
  assert.ok(JSON.stringify(managedFields).length < 2000);
});

test("EBPFNetworkPolicy is taken with a warning that kubectl shows", { skip }, async () => {
  const kind = kindOf("EBPFNetworkPolicy");
  const crd = await api().call(
    "GET",
    `/apis/apiextensions.k8s.io/v1/customresourcedefinitions/${kind.plural}.${kind.group}`,
  );
  const { annotations } = crd.body["metadata"] as { annotations: Readonly<Record<string, string>> };
  assert.equal(annotations["fos1.io/deprecated"], "true");
  assert.match(annotations["fos1.io/deprecation-message"] ?? "", /use CiliumNetworkPolicy/);
  const answer = await api().call("POST", pathOf(kind, "?dryRun=All"), objectOf(kind, { policyType: "filtering" }));
  assert.equal(answer.status, 201);
});

test("kubectl explain describes every field of the kinds that are served later", { skip }, () => {
  for (const name of [...Object.keys(specs), "NodeState"]) {
    const kind = kindOf(name);
    const resource = `${kind.plural}.${kind.group}`;
    const part = kind.source.specSchema === undefined ? "status" : "spec";
    const text = api().kubectl(["explain", `${kind.plural}.${part}`, `--api-version=${kind.group}/${kind.version}`]);
    assert.match(text, /FIELDS:/, resource);
    assert.doesNotMatch(text, /<no description>/, `${resource}.${part}`);
  }
});
