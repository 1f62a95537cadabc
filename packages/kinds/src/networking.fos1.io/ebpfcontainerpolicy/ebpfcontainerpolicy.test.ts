import assert from "node:assert/strict";
import { test } from "node:test";
import type { PolicyDirection, PolicyIntent, PolicyRule } from "@bpfleet/features";
import { emptyPlan } from "@bpfleet/kernel";
import type { Outcome, Parsed } from "../../kind.ts";
import { outcome } from "../../testing/outcomes.ts";
import { issueLines, readAll } from "../../testing/read-all.ts";
import type { EBPFContainerPolicy } from "./schema.ts";
import { containerPolicyStatus } from "./status.ts";

function policy(spec: string): string {
  const base = "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFContainerPolicy\nmetadata: {name: t}\nspec:\n";
  return `${base}${spec.replaceAll(/^/gm, "  ")}\n`;
}

function issues(spec: string): string[] {
  return issueLines(policy(spec)).map((line) => line.replaceAll("spec.networkControls.", ""));
}

const selector = "selector: {podSelector: {matchLabels: {app: db}}}";

test("EBPFContainerPolicy finds all that is wrong at once, each with its line", () => {
  const spec = `selector: {}
resourceLimits:
  bandwidthLimits: {egressBitsPerSecond: 0}
  connectionLimits: {maxConnections: many}
networkControls:
  defaultEgressAction: block
  ingressRules:
    - ports: [{protocol: SCTP}, {endPort: 90}, {port: 90, endPort: 80}]
      ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/33]}
deviceControl:
  allowedDevices: [{deviceType: char, minor: 3}]`;
  assert.deepEqual(issues(spec), [
    "5: error spec.selector.podSelector: is required; {} means all pods of the namespace",
    "7: error spec.resourceLimits.bandwidthLimits.egressBitsPerSecond: must be at least 1, is 0",
    '8: error spec.resourceLimits.connectionLimits.maxConnections: must be a whole number, is "many"',
    '10: error defaultEgressAction: must be one of allow, deny, is "block"',
    '12: error ingressRules[0].ports[0].protocol: must be one of TCP, UDP, is "SCTP"',
    "12: error ingressRules[0].ports[1].endPort: needs port: the first of the range",
    "12: error ingressRules[0].ports[2].endPort: must be at least port",
    '13: error ingressRules[0].ipBlock.except[0]: must be an IPv4 or IPv6 address or a CIDR, is "10.0.0.0/33": the length after the slash must be 0 to 32',
    "15: error spec.deviceControl.allowedDevices[0].minor: needs major: a minor number alone names no device",
  ]);
});

test("EBPFContainerPolicy wants exceptions within what they are exceptions of", () => {
  const block = (text: string): string[] =>
    issues(
      `${selector}\nnetworkControls: {enableEgressControl: true, egressRules: [{action: deny, ipBlock: ${text}}]}`,
    );
  assert.deepEqual(block("{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.3.4]}"), []);
  assert.deepEqual(block("{cidr: 10.0.0.0/8, except: [11.0.0.0/16, 0.0.0.0/0, 'fd00::/8']}"), [
    "6: error egressRules[0].ipBlock.except[0]: must lie within 10.0.0.0/8, is 11.0.0.0/16",
    "6: error egressRules[0].ipBlock.except[1]: must lie within 10.0.0.0/8, is 0.0.0.0/0",
    "6: error egressRules[0].ipBlock.except[2]: must lie within 10.0.0.0/8, is fd00::/8",
  ]);
  assert.match(block("{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}")[0] ?? "", /warning .*no address is meant/);
});

test("EBPFContainerPolicy warns of what does nothing, and of what does too much", () => {
  const warnings = (controls: string, at = selector): string => {
    const lines = issues(`${at}\nnetworkControls: ${controls}`);
    assert.ok(
      lines.every((line) => line.includes("warning")),
      lines.join("\n"),
    );
    return lines.join("\n");
  };
  const dns = "{ports: [{protocol: UDP, port: 53}]}";
  assert.match(warnings("{egressRules: [{action: deny}]}"), /egressRules: has no effect without enableEgressControl/);
  assert.match(warnings("{defaultIngressAction: deny}"), /has no effect without enableIngressControl/);
  assert.match(warnings("{enableEgressControl: true}"), /decides nothing: no rule denies/);
  assert.match(warnings("{enableEgressControl: true, defaultEgressAction: deny}"), /cannot look up names/);
  assert.equal(warnings(`{enableEgressControl: true, defaultEgressAction: deny, egressRules: [${dns}]}`), "");
  assert.equal(
    warnings(
      "{enableEgressControl: true, defaultEgressAction: deny, egressRules: [{ports: [{port: 50, endPort: 60}]}]}",
    ),
    "",
  );
  assert.match(
    warnings("{enableIngressControl: true, ingressRules: [{action: deny}, {ports: [{port: 1}]}]}"),
    /ingressRules\[1\]: is never reached, nor is what follows: position 0 takes everything/,
  );
  assert.match(
    warnings("{enableIngressControl: true, defaultIngressAction: deny}", "selector: {podSelector: {}}"),
    /every pod of the namespace is cut off/,
  );
  const devices = (text: string): string[] => issues(`${selector}\ndeviceControl: ${text}`);
  assert.match(devices("{allowedDevices: [{deviceType: char}]}")[0] ?? "", /has no effect without/);
  assert.match(devices("{enableDeviceControl: true}")[0] ?? "", /not even use \/dev\/null/);
  assert.match(devices("{enableDeviceControl: true, defaultDeviceAction: allow}")[0] ?? "", /every device may be used/);
});

test("EBPFContainerPolicy names each part that is not served yet", () => {
  const told = (spec: string): string[] =>
    readAll(policy(`${selector}\n${spec}`))
      .lower()
      .problems.map(({ reason, origin, message }) => `${reason} ${origin.position?.line} ${message}`);
  assert.deepEqual(
    told("resourceLimits: {connectionLimits: {maxConnections: 1}}\ndeviceControl: {enableDeviceControl: true}"),
    ["NotServed 7 spec.deviceControl is not served yet; every device may be used"],
  );
  assert.deepEqual(
    told("networkControls: {enableEgressControl: true, egressRules: [{action: deny}, {action: log}]}"),
    [],
  );
  assert.deepEqual(told("priority: 5"), []);
});

function read(spec: string): ReturnType<typeof readAll> {
  return readAll(policy(spec).replace("{name: t}", "{name: t, namespace: x}"));
}

test("EBPFContainerPolicy is a tier of its own, each rule a statement in its order and the default the last", () => {
  const { intents } =
    read(`selector: {podSelector: {matchLabels: {app: db}}, namespaceSelector: {matchLabels: {env: e}}}
priority: 7
networkControls:
  enableIngressControl: true
  enableEgressControl: true
  defaultIngressAction: deny
  ingressRules:
    - description: clients
      ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}
      ports: [{port: 5432}, {protocol: UDP}]
  egressRules:
    - {action: deny, ports: [{port: 1, endPort: 9}]}
    - {action: log}`).lower();
  const [intent] = intents as readonly PolicyIntent[];
  assert.deepEqual([intents.length, intent?.tier, intent?.priority], [1, "container", 7]);
  const statements = intent?.policy.statements ?? [];
  const said = ({ isDefaultDeny, allow, deny }: PolicyDirection): string =>
    [
      ...(isDefaultDeny ? ["default deny"] : []),
      ...allow.map(({ origin, ports }) => `allow ${origin.path} ${JSON.stringify(portsOf(ports))}`),
      ...deny.map(({ origin, ports }) => `deny ${origin.path} ${JSON.stringify(portsOf(ports))}`),
    ].join();
  assert.deepEqual(
    statements.map(({ origin, ingress, egress }) => [origin.path, said(ingress), said(egress)]),
    [
      [
        "/spec/networkControls/ingressRules/0",
        'allow /spec/networkControls/ingressRules/0 ["TCP 5432-5432","UDP 0-65535"]',
        "",
      ],
      ["/spec/networkControls/defaultIngressAction", "default deny", ""],
      ["/spec/networkControls/egressRules/0", "", 'deny /spec/networkControls/egressRules/0 ["TCP 1-9"]'],
      ["/spec/networkControls/egressRules/1", "", 'allow /spec/networkControls/egressRules/1 "any"'],
    ],
  );
  const [first] = statements[0]?.ingress.allow ?? [];
  const peers = first?.peers === "any" ? [] : (first?.peers ?? []);
  assert.equal(first?.description, "clients");
  assert.deepEqual(
    peers.map((peer) => peer.peer === "addresses" && [peer.prefix.length, peer.except.length, peer.matches]),
    [[8, 1, "everything"]],
  );
  assert.deepEqual(
    statements.map(({ subject }) => subject.where.map(({ on, values }) => `${on}=${values.join()}`).join(" ")),
    statements.map(() => "namespace-name=x pod=db namespace-label=e"),
  );
});

function portsOf(ports: PolicyRule["ports"]): unknown {
  if (ports === "any") return ports;
  return ports.map((port) => port.match === "ports" && `${port.protocol} ${port.from}-${port.to}`);
}

test("EBPFContainerPolicy without a switch that is on asks for nothing", () => {
  const { intents } = read(`${selector}\nnetworkControls: {defaultIngressAction: deny, ingressRules: [{}]}`).lower();
  assert.deepEqual(intents, []);
});

test("EBPFContainerPolicy that only counts selects pods and decides nothing", () => {
  const { intents, problems } = read(`${selector}\nresourceLimits: {}`).lower();
  const [intent] = intents as readonly PolicyIntent[];
  assert.deepEqual([problems, intent?.counts, intent?.policy.statements.length], [[], true, 1]);
  const [statement] = intent?.policy.statements ?? [];
  const nothing = { isDefaultDeny: false, allow: [], deny: [] };
  assert.deepEqual([statement?.ingress, statement?.egress], [nothing, nothing]);
  const limits = (text: string) => read(`${selector}\nresourceLimits: {enableAccounting: false${text}}`).lower();
  assert.deepEqual(limits("").intents, []);
  const limited = limits(", connectionLimits: {maxConnectionRate: 9}");
  assert.deepEqual([limited.problems, (limited.intents[0] as PolicyIntent).connectionRate], [[], 9]);
  const open = limits(", connectionLimits: {maxConnections: 7}").intents[0] as PolicyIntent;
  assert.deepEqual([open.mostConnections, open.bandwidth], [7, undefined]);
  const slow = limits(", bandwidthLimits: {egressBitsPerSecond: 100000000, burstBytes: 5000}")
    .intents[0] as PolicyIntent;
  assert.deepEqual(slow.bandwidth, { ingress: undefined, egress: { bitsPerSecond: 100_000_000, burstBytes: 5000 } });
});

test("containerPolicyStatus names the pods that it is in force for", () => {
  const [parsed] = read(selector).parsed as readonly Parsed<EBPFContainerPolicy>[];
  assert.ok(parsed !== undefined);
  const endpoints = ["b", "a"].map((pod, ifindex) => ({ pod, namespace: "x", interface: `v${pod}`, ifindex }));
  const data = { about: "policy", endpoints };
  const instance = { feature: "policy", owner: parsed.ref, key: "k", programs: [], maps: {}, rules: [], data };
  const statusOf = (fields: Partial<Outcome>) => containerPolicyStatus(parsed, outcome(fields));
  const inForce = statusOf({ plan: { ...emptyPlan, instances: [instance] } });
  assert.deepEqual(inForce.appliedTo, [
    { podName: "a", namespace: "x" },
    { podName: "b", namespace: "x" },
  ]);
  assert.deepEqual(
    inForce.conditions?.map(({ type, status }) => `${type}=${status}`),
    ["Ready=True", "Accepted=True", "Applied=True"],
  );
  assert.equal(statusOf({ plan: { ...emptyPlan, instances: [instance] }, isPaused: true }).appliedTo, undefined);
  assert.equal(statusOf({}).conditions?.[2]?.reason, "NothingAsked");
  const counters = [1, 2].map((pod) => ({
    owner: parsed.ref,
    labels: { pod: `${pod}`, pod_namespace: "x" },
    reasons: {},
    rules: [],
    gauges: { bytes_in: 10 * pod, bytes_out: 100 * pod, blocked: pod },
  }));
  assert.deepEqual(statusOf({ counters }).metrics, { bytesIn: 30, bytesOut: 300, blocked: 3 });
  assert.equal(inForce.metrics, undefined);
});
