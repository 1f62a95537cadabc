import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "../../kinds.ts";
import type { PolicyIntent, PolicyRule } from "@bpfleet/features";
import { emptyPlan, type PlanProblem } from "@bpfleet/kernel";
import type { Parsed } from "../../kind.ts";
import { outcome } from "../../testing/outcomes.ts";
import { issueLines, readAll } from "../../testing/read-all.ts";
import type { EBPFNetworkPolicy } from "./schema.ts";
import { networkPolicyStatus } from "./status.ts";

const deprecated =
  "2: warning kind: EBPFNetworkPolicy is deprecated; use CiliumNetworkPolicy or CiliumClusterwideNetworkPolicy";

/** Without the first issue, which every object of the kind has. */
function issues(spec: string): string[] {
  const base = "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFNetworkPolicy\nmetadata: {name: t}\nspec:\n";
  const [first, ...rest] = issueLines(`${base}${spec.replaceAll(/^/gm, "  ")}\n`);
  assert.equal(first, deprecated);
  return rest.map((line) => line.replace("spec.", ""));
}

test("EBPFNetworkPolicy is deprecated in its CRD and when it is read", () => {
  const crd = findKind("networking.fos1.io/v1alpha1", "EBPFNetworkPolicy")?.crd() as {
    readonly metadata: { readonly annotations: Readonly<Record<string, string>> };
    readonly spec: {
      readonly versions: readonly { readonly deprecated: boolean; readonly deprecationWarning: string }[];
    };
  };
  const [version] = crd.spec.versions;
  assert.equal(version?.deprecated, true);
  assert.match(version.deprecationWarning, /use CiliumNetworkPolicy/);
  assert.deepEqual(Object.keys(crd.metadata.annotations), ["fos1.io/deprecated", "fos1.io/deprecation-message"]);
});

test("EBPFNetworkPolicy finds all that is wrong at once, each with its line", () => {
  const spec = `policyType: filterin
selector: {podSelector: {}, nodeSelector: {}}
ingress:
  - from: [{}, {ipBlock: {cidr: 10.0.0.0/8}, podSelector: {}}]
    ports: [{protocol: ICMP, port: 8}, {protocol: GRE}]
    action: mark
egress:
  - rateLimit: {burstSize: 0}
    mark: 64`;
  assert.deepEqual(issues(spec), [
    '5: error policyType: must be one of filtering, routing, nat, qos, is "filterin"; did you mean filtering?',
    "6: error selector.nodeSelector: must stand alone: a policy is for nodes or for pods",
    "8: error ingress[0].mark: is required for action mark",
    "8: error ingress[0].from[0]: must have ipBlock, podSelector or namespaceSelector",
    "8: error ingress[0].from[1].ipBlock: must stand alone: addresses are not those of selected pods; make two peers of it",
    "9: error ingress[0].ports[0].port: must be left out for protocol ICMP: it has none",
    '9: error ingress[0].ports[1].protocol: must be one of TCP, UDP, ICMP, is "GRE"',
    "12: error egress[0].rateLimit.bitsPerSecond: is required",
    "12: error egress[0].rateLimit.burstSize: must be at least 1, is 0",
    "13: error egress[0].mark: must be at most 63, is 64",
  ]);
});

test("EBPFNetworkPolicy needs nat for policyType nat only", () => {
  assert.match(issues("policyType: nat")[0] ?? "", /error nat: is required for policyType nat/);
  assert.match(issues("policyType: qos\nnat: {type: masquerade}")[0] ?? "", /policyType: qos will never be served/);
  assert.match(issues("policyType: qos\nnat: {type: masquerade}")[1] ?? "", /error nat: needs policyType nat/);
  assert.deepEqual(issues("policyType: nat\nnat: {type: dnat}").slice(-2), [
    "6: error nat.externalIP: is required for types snat and dnat",
    "6: error nat.portMappings: is required for type dnat",
  ]);
});

test("EBPFNetworkPolicy warns of policies that do not close, and of rules that are not reached", () => {
  const told = (spec: string): string => issues(`policyType: filtering\n${spec}`).join("\n");
  assert.match(told("ingress: [{ports: [{port: 443}]}]"), /ingress: denies nothing: what no rule matches passes/);
  assert.equal(told("ingress: [{ports: [{port: 443}]}, {action: deny}]"), "");
  assert.match(told("egress: [{rateLimit: {bitsPerSecond: 1}}]"), /egress: only limits/);
  assert.match(told("egress: [{action: deny}, {ports: [{port: 53}]}]"), /egress\[1\]: is never reached/);
  assert.match(told("ingress: [{from: [], action: deny}]"), /from: is an empty list, which nobody is on/);
  assert.match(told("ingress: [{action: deny, mark: 4}]"), /mark: has no effect for action deny/);
  assert.match(told("ingress: [{action: deny, rateLimit: {bitsPerSecond: 4}}]"), /rateLimit: has no effect/);
  assert.match(told("priority: 3"), /has neither ingress nor egress rules/);
});

function read(spec: string): ReturnType<typeof readAll> {
  const base =
    "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFNetworkPolicy\nmetadata: {name: t, namespace: x}\nspec:\n";
  return readAll(`${base}  policyType: filtering\n${spec.replaceAll(/^/gm, "  ")}\n`);
}

function lower(spec: string): { intent: PolicyIntent | undefined; problems: readonly PlanProblem[] } {
  const { intents, problems } = read(spec).lower();
  return { intent: intents[0] as PolicyIntent | undefined, problems };
}

test("EBPFNetworkPolicy is of the tier below, each rule a statement in its order", () => {
  const { intent, problems } = lower(`priority: 7
selector: {podSelector: {matchLabels: {app: a}}, namespaceSelector: {matchLabels: {env: e}}}
ingress:
  - from: [{podSelector: {matchLabels: {app: b}}}, {ipBlock: {cidr: 10.0.0.0/8, except: [10.1.0.0/16]}}]
    ports: [{port: 80, endPort: 90}, {protocol: ICMP}]
  - action: deny
egress:
  - to: []
  - to: [{namespaceSelector: {}}]
    ports: [{protocol: UDP}]`);
  assert.deepEqual(problems, []);
  assert.deepEqual([intent?.tier, intent?.priority], ["fallback", 7]);
  const statements = intent?.policy.statements ?? [];
  const rules = statements.flatMap(({ ingress, egress }) =>
    [ingress, egress].flatMap(({ allow, deny, isDefaultDeny }): readonly [string, PolicyRule][] => {
      assert.equal(isDefaultDeny, false);
      return [
        ...allow.map((rule): [string, PolicyRule] => ["allow", rule]),
        ...deny.map((rule): [string, PolicyRule] => ["deny", rule]),
      ];
    }),
  );
  assert.deepEqual(
    rules.map(([list, { origin, peers, ports }]) => [
      list,
      origin.path,
      peers === "any" ? peers : peers.map((peer) => peer.peer),
      ports === "any" ? ports : ports.map((port) => port.match),
    ]),
    [
      ["allow", "/spec/ingress/0", ["pods", "addresses"], ["ports", "ip-protocol", "ip-protocol"]],
      ["deny", "/spec/ingress/1", "any", "any"],
      ["allow", "/spec/egress/0", [], "any"],
      ["allow", "/spec/egress/1", ["pods"], ["ports"]],
    ],
  );
  assert.equal(statements.length, 4);
  const [subject] = statements.map((statement) => statement.subject.where.map(({ on }) => on));
  assert.deepEqual(subject, ["namespace-name", "pod", "namespace-label"]);
});

test("EBPFNetworkPolicy gives what a rule marks its number, and nothing where the rule does something else", () => {
  const marks = (rule: string): readonly (number | undefined)[] =>
    (lower(`egress: [${rule}]`).intent?.policy.statements ?? []).flatMap(({ egress }) =>
      egress.allow.map(({ mark }) => mark),
    );
  assert.deepEqual(marks("{action: mark, mark: 46}"), [46]);
  assert.deepEqual(marks("{action: mark, mark: 0}"), [0]);
  assert.deepEqual(marks("{action: allow, mark: 46}"), [undefined]);
});

test("EBPFNetworkPolicy is about nodes with nodeSelector, whatever namespace it is in", () => {
  const spec = "selector: {nodeSelector: {matchLabels: {role: edge}, matchExpressions: [{key: a, operator: Exists}]}}";
  const { intent, problems } = lower(`${spec}\ningress: [{from: [{podSelector: {}}]}, {action: deny}]`);
  assert.deepEqual([intent?.tier, problems], ["fallback", []]);
  const [subject, ...others] = (intent?.policy.statements ?? []).map((statement) => statement.subject);
  assert.equal(subject?.selects, "nodes");
  assert.equal(subject.origin.path, "/spec/selector/nodeSelector");
  assert.deepEqual(
    subject.where.map(({ on, key, operator }) => `${on} ${key} ${operator}`),
    ["node role In", "node a Exists"],
  );
  assert.deepEqual(
    others.map(({ selects }) => selects),
    ["nodes"],
  );
});

test("EBPFNetworkPolicy warns of a rule that closes nodes, and says which ports of theirs no rule lets in", () => {
  const told = (rules: string): readonly string[] =>
    issues(`policyType: filtering\nselector: {nodeSelector: {}}\n${rules}`).map((line) => line.replace(/^\d+: /, ""));
  const all = "SSH (22), the API server (6443), the kubelet (10250)";
  const closing = (rest: string): string =>
    `denies whatever else comes to the selected nodes themselves; only the fail-safe ports stay open${rest}`;
  assert.deepEqual(told("ingress: [{action: deny}]"), [
    `warning ingress[0]: ${closing(`, and no rule lets in ${all}`)}`,
  ]);
  assert.deepEqual(told("ingress: [{ports: [{port: 22}, {port: 6000, endPort: 11000}]}, {action: deny}]"), [
    `warning ingress[1]: ${closing("")}`,
  ]);
  const half = "{ports: [{port: 22}], action: deny}, {from: [{podSelector: {}}], ports: [{port: 22}, {port: 6443}]}";
  assert.deepEqual(told(`ingress: [${half}, {from: [], ports: [{port: 10250}]}, {action: deny}]`).slice(-1), [
    `warning ingress[3]: ${closing(", and no rule lets in SSH (22), the kubelet (10250)")}`,
  ]);
  assert.deepEqual(told("egress: [{action: deny}]"), [
    "warning egress[0]: denies whatever else leaves the selected nodes themselves; only the fail-safe ports stay open",
  ]);
  assert.equal(told("ingress: [{ports: [{port: 80}], action: deny}]").length, 0);
});

test("EBPFNetworkPolicy says what a rule does not do, and lets nothing through by what is not served", () => {
  const told = (spec: string): readonly string[] => lower(spec).problems.map(({ message }) => message);
  assert.deepEqual(told("ingress: [{rateLimit: {bitsPerSecond: 8}}, {action: log}, {action: mark, mark: 1}]"), []);
  assert.deepEqual(told("stateful: false\negress: [{action: deny}]"), [
    "spec.stateful is not served yet; replies to what was allowed pass all the same",
  ]);
  const other = read("ingress: [{action: deny}]").parsed[0] as Parsed<EBPFNetworkPolicy>;
  const qos = { ...other, object: { ...other.object, spec: { ...other.object.spec, policyType: "qos" as const } } };
  const kind = findKind("networking.fos1.io/v1alpha1", "EBPFNetworkPolicy");
  assert.equal(kind?.lower(qos, readAll("").view).intents.length, 0);
});

test("networkPolicyStatus adds up what the rules of either action counted", () => {
  const [parsed] = read("ingress: [{ports: [{port: 1}]}, {action: deny}]")
    .parsed as readonly Parsed<EBPFNetworkPolicy>[];
  assert.ok(parsed !== undefined);
  const owner = parsed.ref;
  const rules = [3n, 4n].map((packets, index) => ({
    rule: { index: index + 1, id: "1", text: "", origin: { object: owner, path: `/spec/ingress/${index}` } },
    counter: { packets, bytes: packets * 10n },
  }));
  const counters = [{ owner, reasons: {}, rules, gauges: {} }];
  const common = { feature: "policy", owner, key: "k", programs: [], maps: {}, rules: [], hooks: [], data: {} };
  const status = networkPolicyStatus(parsed, outcome({ plan: { ...emptyPlan, instances: [common] }, counters }));
  assert.deepEqual(status.metrics, { matches: 7, drops: 4, allows: 3, packets: 7, bytes: 70 });
  assert.deepEqual(
    status.conditions?.map(({ type, status: is }) => `${type}=${is}`),
    ["Ready=True", "Accepted=True", "Applied=True"],
  );
  assert.equal(networkPolicyStatus(parsed, outcome({})).conditions?.[2]?.reason, "NothingAsked");
  const [ofNodes] = read("selector: {nodeSelector: {}}\ningress: [{action: deny}]")
    .parsed as readonly Parsed<EBPFNetworkPolicy>[];
  assert.ok(ofNodes !== undefined);
  assert.equal(networkPolicyStatus(ofNodes, outcome({})).conditions?.[2]?.message, "it is not for this node");
});
