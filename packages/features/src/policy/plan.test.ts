import assert from "node:assert/strict";
import { test } from "node:test";
import { refKey } from "@bpfleet/base";
import { assemblePlan, planGenerations, type NodeFacts, type SeenMap } from "@bpfleet/kernel";
import { interfaceFacts, nodeFacts } from "@bpfleet/kernel/testing";
import type { FeaturePlan } from "../feature.ts";
import { bytesOfKey, parseAddressKey } from "./compile/address-key.ts";
import { compilePolicy } from "./compile/compile-policy.ts";
import { endpointNumber } from "./generated/policy.ts";
import type { PolicyFeatureIntent, PolicyIntent, WorkloadIntent } from "./intent.ts";
import { nodeInstanceKey, type PolicyData } from "./instances.ts";
import { triedEntry } from "./compile/place-endpoints.ts";
import { policy as feature } from "./policy-feature.ts";
import type { Policy, PolicyRule } from "./policy.ts";
import { judgeTable, type TableAnswer } from "./table/judge-table.ts";
import { label, podsWith, policyOf, tcp, type WrittenRule } from "./testing/written-policy.ts";

const node = { group: "", kind: "Node", namespace: "", name: "node" };
const facts = nodeFacts({
  objects: { policy: { digest: "d" } },
  interfaces: [interfaceFacts("eth0", { addresses: ["172.16.0.1/24"] })],
  endpoints: { a: foundAt("veth-a", 11), b: foundAt("veth-b", 12) },
});

function foundAt(name: string, ifindex: number) {
  return { found: true, interface: name, ifindex, addresses: [], mac: "02:00:00:00:00:01" } as const;
}

function workload(name: string, app: string, address: string): WorkloadIntent {
  const pod = { group: "", kind: "Pod", namespace: "x", name };
  return {
    feature: "policy",
    about: "workload",
    isFact: true,
    origin: { object: pod, path: "" },
    pod,
    labels: { app },
    namespaceLabels: {},
    serviceAccount: "",
    namedPorts: [],
    addresses: [address],
    isHostNetwork: false,
    endpoint: name,
  };
}

const pods = [workload("a", "a", "10.0.0.1"), workload("b", "b", "10.0.0.2"), workload("c", "c", "10.0.0.3")];
function policyIntent(
  name: string,
  app: string,
  allow: readonly WrittenRule[],
  deny: readonly WrittenRule[] = [],
): PolicyIntent {
  const policy = policyOf(name, { where: [label("app", app)], ingress: { allow, deny } });
  return { feature: "policy", about: "policy", origin: { object: policy.ref, path: "" }, tier: "policy", policy };
}

const port = (number: number): PolicyRule["ports"] => [tcp(number)];
const appB: PolicyRule["peers"] = [podsWith(label("app", "b"))];

const planOf = (intents: readonly PolicyFeatureIntent[], on: NodeFacts = facts): FeaturePlan =>
  feature.plan([...pods, ...intents], on);

function ask(plan: FeaturePlan, ifindex: number, peer: string, port: number, direction = "ingress"): TableAnswer {
  const contents = plan.maps.find(({ key }) => key === "policy/lines")?.contents;
  assert.ok(contents?.kind === "sealed");
  const key = parseAddressKey(peer) ?? assert.fail();
  return judgeTable(contents.entries.values, {
    ifindex,
    direction: direction as "ingress",
    peer: bytesOfKey(key),
    protocol: 6,
    port,
  });
}

const verdict = (...of: Parameters<typeof ask>): string => ask(...of).verdict;
const attached = ({ attachments }: FeaturePlan): string[] =>
  attachments.map(({ point, member }) => `${JSON.stringify(Object.values(point))} ${member.program}`);
const said = ({ problems }: FeaturePlan): string[] =>
  problems.map(({ severity, reason, message, origin }) => `${severity} ${reason} ${origin.object.name}: ${message}`);

test("policy.plan asks for nothing while there is no policy, or none of a pod of this node", () => {
  for (const intents of [[], [policyIntent("p", "z", [])]]) {
    const { maps, programs, attachments, instances, problems } = planOf(intents);
    assert.deepEqual(
      { maps, programs, attachments, instances, problems },
      { maps: [], programs: [], attachments: [], instances: [], problems: [] },
    );
  }
});

test("policy.plan hooks the interfaces of the pods that a policy selects, and those only", () => {
  const plan = planOf([policyIntent("p", "a", [{ peers: appB, ports: port(80) }])]);
  assert.deepEqual(said(plan), []);
  assert.deepEqual(attached(plan), [
    '["tc","veth-a","ingress"] policy/egress',
    '["tc","veth-a","egress"] policy/ingress',
  ]);
  // Before whatever else people attach there: what ends the chain must not open the pod.
  assert.ok(plan.attachments.every(({ member }) => member.priority < 0));
  assert.equal(verdict(plan, 11, "10.0.0.2", 80), "pass");
  assert.equal(verdict(plan, 11, "10.0.0.2", 81), "drop");
  assert.equal(verdict(plan, 11, "10.0.0.3", 80), "drop");
  assert.equal(verdict(plan, 11, "10.0.0.3", 80, "egress"), "pass");
  assert.equal(ask(plan, 12, "10.0.0.3", 80).reason, "not_judged");
});

test("policy.plan changes neither programs nor hooks nor what refers to tables when rules change", () => {
  const before = assemblePlan([planOf([policyIntent("p", "a", [{ ports: port(80) }])])]);
  const many = Array.from({ length: 2000 }, (_, at) => ({ ports: port(at + 1) }));
  const after = assemblePlan([planOf([policyIntent("p", "a", [...many, { peers: appB }])])]);
  const [old, next] = [planGenerations(before), planGenerations(after)];
  assert.deepEqual(next.programs, old.programs);
  assert.deepEqual(next.hooks, old.hooks);
  const changed = [...next.maps].filter(([key, { generation }]) => old.maps.get(key)?.generation !== generation);
  assert.deepEqual(changed.map(([key]) => key).toSorted(), ["policy/lines", "policy/rules/base", "policy/rules/hits"]);
});

test("policy.plan keeps the ids of rules where others come before them, and gives the list another slot", () => {
  const one = planOf([policyIntent("p", "a", [{ ports: port(80) }])]);
  const hits = one.maps.find(({ key }) => key === "policy/rules/hits") ?? assert.fail();
  const seen: SeenMap = {
    definition: hits.definition,
    layout: hits.layout ?? assert.fail(),
    keyType: hits.types?.key ?? assert.fail(),
    valueType: hits.types?.value ?? assert.fail(),
  };
  const on = { ...facts, seenMaps: { [hits.key]: [seen] } };
  const again = planOf([policyIntent("p", "a", [{ ports: port(80) }])], on);
  assert.deepEqual(again.maps, one.maps);
  const two = planOf([policyIntent("p", "a", [{ ports: port(79) }, { ports: port(80) }])], on);
  const idsOf = ({ instances }: FeaturePlan): Record<string, string> =>
    Object.fromEntries(instances.flatMap(({ rules }) => rules.map(({ id, text }) => [text, id])));
  assert.equal(idsOf(two)["allow ingress from anybody at TCP 80"], idsOf(one)["allow ingress from anybody at TCP 80"]);
  const slotOf = ({ maps }: FeaturePlan): number | undefined => {
    const contents = maps.find(({ key }) => key === "policy/counters")?.contents;
    return contents?.kind === "refers" ? contents.entries[0]?.slot : undefined;
  };
  assert.notEqual(slotOf(two), slotOf(one));
});

test("policy.plan waits for pods whose interface is not found, says why, and is in force on the others", () => {
  const why = "no process runs in cgroup /pods/c";
  const intents = [policyIntent("p", "c", []), policyIntent("q", "a", [])];
  const on = (isFinal: boolean): NodeFacts => ({
    ...facts,
    endpoints: { ...facts.endpoints, c: { found: false, isFinal, why } },
  });
  assert.deepEqual(said(planOf(intents, on(false))), [`waiting EndpointNotFound p: not in force on Pod x/c: ${why}`]);
  assert.deepEqual(said(planOf(intents, on(true))), [`refused EndpointNotFound p: not in force on Pod x/c: ${why}`]);
  assert.deepEqual(said(planOf(intents)), [
    "waiting EndpointNotFound p: not in force on Pod x/c: its interface is being looked for",
  ]);
  assert.equal(attached(planOf(intents)).length, 2);
});

test("policy.plan tells of policies that are only tried out, and enforces none of them", () => {
  const intent = policyIntent("p", "a", []);
  const plan = planOf([{ ...intent, policy: { ...intent.policy, mode: "shadow" } }]);
  assert.match(said(plan).join(), /^note Shadow p: tried out \(bpfleet.io\/mode: shadow\)/);
  assert.equal(attached(plan).length, 2);
  assert.equal(verdict(plan, 11, "10.9.9.9", 80), "pass");
  assert.equal(verdict(plan, triedEntry(11), "10.9.9.9", 80), "drop");
  assert.equal(plan.programs[0]?.globals["tries_policies"], true);
  assert.equal(planOf([intent]).programs[0]?.globals["tries_policies"], false);
});

test("policy.plan lets this node reach its pods, unless the settings say never", () => {
  const intents = [policyIntent("p", "a", [], [{}])];
  assert.equal(verdict(planOf(intents), 11, "172.16.0.1", 8080), "pass");
  assert.equal(verdict(planOf(intents), 11, "172.16.0.2", 8080), "drop");
  assert.equal(
    verdict(planOf(intents, { ...facts, policySettings: { hostAccess: "always" } }), 11, "172.16.0.1", 8080),
    "pass",
  );
  assert.equal(
    verdict(planOf(intents, { ...facts, policySettings: { hostAccess: "never" } }), 11, "172.16.0.1", 8080),
    "drop",
  );
});

test("policy.plan says what of a pod's traffic is not judged", () => {
  const endpoints = { a: { ...foundAt("veth-a", 11), note: "what passes net1 is not judged" } };
  const plan = planOf([policyIntent("p", "a", [])], { ...facts, endpoints });
  assert.deepEqual(said(plan), ["note PartlyJudged p: Pod x/a: what passes net1 is not judged"]);
});

test("policy.plan has an instance of the node with all rules, and one of each object with its own", () => {
  const plan = planOf([policyIntent("p", "a", [{ ports: port(80) }]), policyIntent("q", "b", [{}, {}])]);
  const tell = plan.instances.map(({ key, owner, rules, data }) => [
    key,
    owner.name,
    rules.map(({ index }) => index).join(),
    (data as PolicyData).endpoints.map(({ interface: name }) => name).join(),
    (data as PolicyData).places?.join(" "),
  ]);
  assert.deepEqual(tell, [
    ["policy/node", "node", "1,2,3,4", "veth-a,veth-b", undefined],
    ["policy/objects/networking.k8s.io/NetworkPolicy/x/p", "p", "2", "", "0,0"],
    ["policy/objects/networking.k8s.io/NetworkPolicy/x/q", "q", "3,4", "", "1,1"],
  ]);
});

test("policy.plan tells of an object that selects many pods as briefly as of one that selects one", () => {
  const lengthFor = (pods: number): number => {
    const names = Array.from({ length: pods }, (_, at) => `p${at}`);
    const endpoints = Object.fromEntries(names.map((name, at) => [name, foundAt(`veth-${name}`, 10 + at)]));
    const people = names.map((name, at) => workload(name, "many", `10.1.${at >> 8}.${at & 255}`));
    const plan = planOf([...people, policyIntent("p", "many", [{ ports: port(80) }])], { ...facts, endpoints });
    const own = plan.instances.find(({ owner }) => owner.name === "p");
    assert.ok(own);
    assert.deepEqual((own.data as PolicyData).places, [[0, pods - 1]]);
    return JSON.stringify(own).length;
  };
  assert.ok(lengthFor(300) - lengthFor(1) < 10);
});

/** Whatever is asked of it throws. */
function broken(what: string): never {
  return new Proxy([], {
    get() {
      throw new Error(`${what} cannot be read`);
    },
  }) as never;
}

test("policy.plan closes the pods of an object that it cannot read, and serves the others", () => {
  const sound = policyIntent("q", "b", [{ peers: appB }]);
  const [statement] = policyIntent("p", "a", [{}]).policy.statements;
  assert.ok(statement);
  const brokenStatements = [
    {
      ...statement,
      ingress: { ...statement.ingress, allow: [{ ...statement.ingress.allow[0], peers: broken("peers") }] },
    },
    { ...statement, subject: { ...statement.subject, where: broken("selector") } },
  ] as Policy["statements"];
  for (const each of brokenStatements) {
    const intent = policyIntent("p", "a", []);
    const plan = planOf([{ ...intent, policy: { ...intent.policy, statements: [each] } }, sound]);
    assert.match(
      said(plan).join(),
      /^refused Refused p: serve NetworkPolicy x\/p: .* cannot be read; .* nothing passes/,
    );
    assert.equal(verdict(plan, 11, "10.0.0.2", 80), "drop");
    assert.equal(verdict(plan, 11, "172.16.0.1", 80), "pass");
  }
});

test("policy.plan closes an object whole where one of its statements cannot be read", () => {
  const intent = policyIntent("p", "a", [{}]);
  const [open] = intent.policy.statements;
  const [other] = policyIntent("p", "b", [{ peers: broken("peers") }]).policy.statements;
  assert.ok(open && other);
  const plan = planOf([{ ...intent, policy: { ...intent.policy, statements: [open, other] } }]);
  assert.equal(verdict(plan, 11, "10.0.0.2", 80), "drop");
  assert.equal(verdict(plan, 12, "10.0.0.2", 80), "drop");
});

test("policy.plan leaves in force what was, when nothing can be compiled; without it, pods are closed", () => {
  const intents = [policyIntent("p", "a", [{}])];
  const hosts = {
    feature: "policy",
    about: "host",
    name: "n",
    labels: {},
    addresses: broken("addresses"),
    isThisNode: false,
    origin: { object: node, path: "" },
  } as const;
  const closed = planOf([...intents, hosts]);
  assert.match(said(closed).join(), /^refused Failed p: .* cannot be read; .* nothing passes the pods of this node/);
  assert.equal(closed.wantsEarlier, true);
  for (const ifindex of [11, 12]) {
    for (const direction of ["ingress", "egress"]) {
      assert.equal(verdict(closed, ifindex, "10.0.0.2", 80, direction), "drop");
    }
    assert.equal(verdict(closed, ifindex, "172.16.0.1", 80), "pass");
  }
  const earlier = planOf(intents);
  const kept = planOf([...intents, hosts], { ...facts, earlierPlans: { [refKey(node)]: earlier } });
  assert.match(said(kept).join(), /^refused Failed p: .* what was in force before stays/);
  assert.deepEqual({ ...kept, problems: [] }, { ...earlier, problems: [] });
});

test("policy.plan counts each pod only where an object asks for it, also one that decides nothing", () => {
  const silent = policyIntent("s", "a", []);
  const nothing = { isDefaultDeny: false, allow: [], deny: [] };
  const statements = silent.policy.statements.map((each) => ({ ...each, ingress: nothing, egress: nothing }));
  const counting: PolicyIntent = {
    ...silent,
    tier: "container",
    counts: true,
    policy: { ...silent.policy, statements },
  };
  const plan = planOf([counting]);
  const ofPods = plan.instances.filter(({ data }) => (data as PolicyData).about === "pod");
  assert.deepEqual(
    ofPods.map(({ owner, key, maps, hooks }) => [owner.name, key, maps, hooks?.length]),
    [["s", "policy/objects/networking.k8s.io/NetworkPolicy/x/s/pods/x/a", { accounts: "policy/accounts" }, 2]],
  );
  assert.deepEqual(
    plan.programs.map(({ globals }) => globals?.["keeps_accounts"]),
    [true, true],
  );
  assert.equal(ask(plan, 11, "10.0.0.2", 80).reason, "unrestricted");
  const without = planOf([policyIntent("p", "a", [{}])]);
  assert.equal(
    without.instances.some(({ data }) => (data as PolicyData).about === "pod"),
    false,
  );
  assert.equal(without.programs[0]?.globals?.["keeps_accounts"], false);
});

test("policy.plan tells the lowest rate of connections of those that select a pod to the table of what it sends", () => {
  const limiting = (name: string, connectionRate: number): PolicyIntent => ({
    ...policyIntent(name, "a", []),
    tier: "container",
    connectionRate,
  });
  const input = {
    policies: [limiting("p", 9), limiting("q", 7)],
    workloads: pods,
    addresses: [],
    hosts: [],
    services: [],
  };
  const { table } = compilePolicy({ ...input, settings: {} }, facts, () => 0);
  const ratesOf = (numbers: readonly number[] | undefined): readonly unknown[] =>
    (numbers ?? []).map((number) => table.tables[number]?.connectionRate);
  const [endpoint] = table.endpoints;
  assert.deepEqual([ratesOf(endpoint?.ingress), ratesOf(endpoint?.egress)], [[undefined], [7]]);
});

test("policy.plan leaves in force what was, when its object is missing", () => {
  const intents = [policyIntent("p", "a", [{}])];
  const earlier = planOf(intents);
  const without = { ...facts, objects: {} };
  const unknown = planOf(intents, without);
  assert.match(said(unknown).join(), /^refused NotFound p: load the policy programs/);
  assert.equal(unknown.wantsEarlier, true);
  const kept = planOf(intents, { ...without, earlierPlans: { [refKey(node)]: earlier } });
  assert.deepEqual({ ...kept, problems: [] }, { ...earlier, problems: [] });
  assert.match(said(kept).join(), /^refused NotFound p/);
});

test("policy.plan tells the programs for how long names count at least, and what is older than a policy goes on", () => {
  const timesOf = (settings: NodeFacts["policySettings"]): readonly unknown[] => {
    const { globals } = planOf([policyIntent("p", "a", [])], { ...facts, policySettings: settings }).programs[0] ?? {};
    return [globals?.["name_seconds_at_least"], globals?.["grace_seconds"]];
  };
  assert.deepEqual(timesOf(undefined), [0, 60]);
  assert.deepEqual(timesOf({ nameSeconds: 300, graceSeconds: 0 }), [300, 0]);
});

test("policy.plan hooks interfaces of the node itself only where a policy selects it", () => {
  const interfaces = [
    interfaceFacts("lo", { part: "loopback", addresses: ["127.0.0.1/8"] }),
    interfaceFacts("eth0", { addresses: ["172.16.0.1/24"] }),
    interfaceFacts("wg0", { part: "raw", linkKind: "wireguard" }),
    interfaceFacts("port", { part: "port" }),
    interfaceFacts("ib0", { part: "foreign" }),
  ];
  const on: NodeFacts = { ...facts, interfaces, labels: { role: "worker" } };
  const about = (role: string): PolicyIntent => {
    const intent = policyIntent("p", "none", [{ ports: port(80) }]);
    const [statement] = intent.policy.statements;
    assert.ok(statement);
    const where = [{ on: "node", key: "role", operator: "In", values: [role] }] as const;
    const subject = { ...statement.subject, selects: "nodes", where } as const;
    return { ...intent, policy: { ...intent.policy, statements: [{ ...statement, subject }] } };
  };
  assert.deepEqual(attached(planOf([about("other")], on)), []);
  const plan = planOf([about("worker")], on);
  assert.deepEqual(attached(plan), [
    '["tc","eth0","ingress"] policy/host-ingress',
    '["tc","eth0","egress"] policy/host-egress',
    '["tc","wg0","ingress"] policy/host-ingress-raw',
    '["tc","wg0","egress"] policy/host-egress-raw',
  ]);
  assert.deepEqual(
    plan.programs.map(({ key }) => key),
    ["policy/host-ingress", "policy/host-egress", "policy/host-ingress-raw", "policy/host-egress-raw"],
  );
  assert.deepEqual(said(plan), [
    "refused NotServed p: not in force on ib0 of this node: headers of such a link are not read",
    "note ServicesOfNode p: what a pod sends to a Service whose back end is this node itself is judged only if a policy is about what the pod sends",
  ]);
  for (const [asked, expected] of [
    [80, "pass"],
    [22, "pass"],
    [81, "drop"],
  ] as const)
    assert.equal(verdict(plan, endpointNumber.host, "203.0.113.9", asked), expected, String(asked));
  const failSafePorts = { ingress: [{ protocol: "TCP", from: 8000, to: 8010 }], egress: [], reachesApiServer: false };
  const set = planOf([about("worker")], { ...on, policySettings: { failSafePorts } } as NodeFacts);
  for (const [asked, expected] of [
    [80, "pass"],
    [22, "drop"],
    [8010, "pass"],
  ] as const)
    assert.equal(verdict(set, endpointNumber.host, "203.0.113.9", asked), expected, String(asked));
  const [wrong] = policyIntent("p", "none", [{ peers: broken("peers") }]).policy.statements;
  const refused = about("worker");
  const [statement] = refused.policy.statements;
  assert.ok(wrong && statement);
  const statements = [{ ...wrong, subject: statement.subject }];
  const held = planOf([{ ...refused, policy: { ...refused.policy, statements } }], on);
  assert.deepEqual(attached(held), []);
  assert.match(
    said(held).join(),
    /^refused Refused p: .* cannot be read; .*; until then it holds nothing back of the node itself$/,
  );
});

test("policy says once what isolates pods that the same policies select", () => {
  const endpoints = Object.fromEntries(["a", "b", "c"].map((name, at) => [name, foundAt(`veth-${name}`, 11 + at)]));
  const everybody = policyOf("all", { ingress: { allow: [] } });
  const all: PolicyIntent = {
    ...policyIntent("all", "a", []),
    policy: everybody,
    origin: { object: everybody.ref, path: "" },
  };
  const plan = planOf([all, policyIntent("only-c", "c", [])], { ...facts, endpoints });
  const data = plan.instances.find(({ key }) => key === nodeInstanceKey)?.data as PolicyData;
  const [a, b, c] = data.endpoints.map(({ isolatedBy }) => isolatedBy);
  assert.deepEqual([a, c?.ingress.length], [{ ingress: [0], egress: [] }, 2]);
  assert.equal(a, b);
});
