import assert from "node:assert/strict";
import { test } from "node:test";
import type { Parsed } from "../../kind.ts";
import { findKind } from "../../kinds.ts";
import { findPolicy } from "../../policy/read-policy.ts";
import { onWeb, parsePolicy, policyOf, ports, ruleOf, type Spec } from "../../testing/policies.ts";
import { readAll } from "../../testing/read-all.ts";

/** Without origins, as JSON. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, field: unknown) =>
      key === "origin" ? undefined : field instanceof Uint8Array ? [...field].join(".") : field,
    ),
  );
}

test("CiliumNetworkPolicy has specs beside spec or in its place, and says what is missing", () => {
  const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy") ?? assert.fail();
  const head = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "x" } };
  const messages = (rest: object): readonly string[] =>
    kind.parse({ ...head, ...rest }).issues.map(({ message }) => message);
  const rule = { ...onWeb, ingress: [{ fromEndpoints: [{}] }] };
  assert.deepEqual(messages({}), ["spec: is required"]);
  assert.deepEqual(messages({ specs: [] }), ["specs: must have at least one item where there is no spec"]);
  assert.deepEqual(messages({ specs: [{ ...rule, ingres: 1 }] }), [
    "specs[0].ingres: unknown field; did you mean ingress?",
  ]);
  assert.match(messages({ specs: [rule, { ingress: [{}] }] }).join(), /^specs\[1\]: must have endpointSelector/);
  const result = kind.parse({ ...head, spec: rule, specs: [rule, rule] });
  assert.ok(result.ok);
  const policy = findPolicy(result.value) ?? assert.fail();
  assert.deepEqual(
    policy.statements.map(({ origin, ingress }) => [origin.path, ingress.allow[0]?.origin.path]),
    [
      ["/spec", "/spec/ingress/0"],
      ["/specs/0", "/specs/0/ingress/0"],
      ["/specs/1", "/specs/1/ingress/0"],
    ],
  );
});

test("findPolicy reads peers of every sort, with the field that each comes from", () => {
  const peers = (item: Spec, list?: string): unknown => plain(ruleOf(item, list).peers);
  const own = { on: "namespace-name", key: "", operator: "In", values: ["default"] };
  assert.deepEqual(peers({ fromEndpoints: [{ matchLabels: { "any:a": "1", "k8s:b": "2" } }] }), [
    {
      peer: "pods",
      where: [
        own,
        { on: "pod", key: "a", operator: "In", values: ["1"] },
        { on: "pod", key: "b", operator: "In", values: ["2"] },
      ],
    },
  ]);
  assert.deepEqual(
    peers({
      fromEndpoints: [
        { matchLabels: { "io.cilium.k8s.policy.serviceaccount": "sa", "io.cilium.k8s.policy.cluster": "default" } },
        { matchLabels: { "reserved:remote-node": "" } },
        { matchExpressions: [{ key: "reserved:health", operator: "Exists" }] },
      ],
    }),
    [
      {
        peer: "pods",
        where: [
          own,
          { on: "service-account", key: "", operator: "In", values: ["sa"] },
          { on: "cluster", key: "", operator: "In", values: ["default"] },
        ],
      },
      { peer: "entity", entity: "remote-node" },
      { peer: "entity", entity: "health" },
    ],
  );
  assert.deepEqual(peers({ toNodes: [{ matchLabels: { role: "edge" } }] }, "egress"), [
    { peer: "nodes", where: [{ on: "node", key: "role", operator: "In", values: ["edge"] }] },
  ]);
  assert.deepEqual(peers({ fromCIDR: ["10.1.2.3", "2001:db8::/32"] }), [
    { peer: "addresses", prefix: { family: 4, bytes: "10.1.2.3", length: 32 }, except: [], matches: "world" },
    {
      peer: "addresses",
      prefix: { family: 6, bytes: "32.1.13.184.0.0.0.0.0.0.0.0.0.0.0.0", length: 32 },
      except: [],
      matches: "world",
    },
  ]);
  assert.deepEqual(
    peers(
      {
        toServices: [
          { k8sService: { serviceName: "db" } },
          { k8sService: { serviceName: "db", namespace: "shop" } },
          { k8sServiceSelector: { selector: { matchLabels: { a: "b" } }, namespace: "shop" } },
          { k8sServiceSelector: { selector: {} } },
        ],
      },
      "egress",
    ),
    [
      { peer: "service", namespace: "default", name: "db" },
      { peer: "service", namespace: "shop", name: "db" },
      { peer: "services", namespace: "shop", where: [{ on: "service", key: "a", operator: "In", values: ["b"] }] },
      { peer: "services", where: [] },
    ],
  );
  assert.deepEqual(
    peers(
      { toFQDNs: [{ matchName: "API.Example.org." }, { matchPattern: "*.x.org" }, { matchPattern: "y.org" }] },
      "egress",
    ),
    [
      { peer: "name", name: { is: "name", text: "api.example.org" } },
      { peer: "name", name: { is: "pattern", text: "*.x.org" } },
      { peer: "name", name: { is: "name", text: "y.org" } },
    ],
  );
  const { peers: read } = ruleOf({ fromEndpoints: [{}, {}] });
  assert.deepEqual(read === "any" ? [] : read.map(({ origin }) => origin.path), [
    "/spec/ingress/0/fromEndpoints/0",
    "/spec/ingress/0/fromEndpoints/1",
  ]);
});

test("findPolicy reads ports of every sort", () => {
  const read = (item: Spec, list?: string): unknown => plain(ruleOf(item, list).ports);
  const range = (protocol: string, from: number, to = from): Spec => ({ match: "ports", protocol, from, to });
  assert.deepEqual(read(ports({ port: "80" })), [range("TCP", 80), range("UDP", 80), range("SCTP", 80)]);
  assert.deepEqual(read(ports({ port: "0", protocol: "UDP" })), [range("UDP", 0, 65535)]);
  assert.deepEqual(read(ports({ port: "0", endPort: 80, protocol: "UDP" })), [range("UDP", 0, 80)]);
  assert.deepEqual(read(ports({ port: "0", endPort: 0, protocol: "UDP" })), [range("UDP", 0, 65535)]);
  assert.deepEqual(read(ports({ port: "0", endPort: 65535, protocol: "UDP" })), [range("UDP", 0, 65535)]);
  assert.deepEqual(read(ports({ port: "8000", endPort: 8010, protocol: "TCP" })), [range("TCP", 8000, 8010)]);
  assert.deepEqual(read(ports({ port: "HTTPS", protocol: "TCP" })), [
    { match: "named-port", protocol: "TCP", name: "https" },
  ]);
  assert.deepEqual(read(ports({ port: "https", endPort: 8443, protocol: "TCP" })), [
    { match: "named-port", protocol: "TCP", name: "https", to: 8443 },
  ]);
  assert.deepEqual(read(ports({ port: "0", protocol: "VRRP" })), [{ match: "ip-protocol", number: 112 }]);
  assert.deepEqual(read(ports({ port: "0", endPort: 80, protocol: "VRRP" })), [{ match: "ip-protocol", number: 112 }]);
  assert.deepEqual(
    read({
      icmps: [
        { fields: [{ type: 8 }, { type: "EchoRequest" }, { family: "IPv6", type: "PacketTooBig" }, { type: "3" }] },
      ],
    }),
    [
      { match: "icmp", family: 4, type: 8 },
      { match: "icmp", family: 4, type: 8 },
      { match: "icmp", family: 6, type: 2 },
      { match: "icmp", family: 4, type: 3 },
    ],
  );
  assert.deepEqual(
    read(
      {
        toPorts: [
          { ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchPattern: "*" }, { matchName: "A.b" }] } },
        ],
      },
      "egress",
    ),
    [
      {
        ...range("UDP", 53),
        dns: [
          { is: "pattern", text: "*" },
          { is: "name", text: "a.b" },
        ],
      },
    ],
  );
  assert.equal(read({ fromEndpoints: [{}], toPorts: [], icmps: [] }), "any");
});

test("findPolicy turns what is not served into nothing that is allowed, and into no less than is denied", () => {
  const port = { ports: [{ port: "443", protocol: "TCP" }] };
  const unserved: readonly (readonly [string, Spec, string])[] = [
    ["ingress", { fromEndpoints: [{}], toPorts: [{ ...port, rules: { http: [{ path: "/" }] } }] }, "HTTP rules"],
    ["ingress", { fromEndpoints: [{}], toPorts: [{ ...port, rules: { http: [] } }] }, "HTTP rules"],
    [
      "egress",
      { toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [] } }] },
      "an empty list of DNS rules",
    ],
    ["ingress", { toPorts: [{ ...port, rules: { kafka: [{ topic: "t" }] } }] }, "Kafka rules"],
    [
      "ingress",
      { toPorts: [{ ...port, rules: { l7proto: "cassandra", l7: [{ a: "b" }] } }] },
      "rules of other protocols",
    ],
    ["egress", { toPorts: [{ ...port, serverNames: ["example.org"] }] }, "server names of TLS"],
    ["egress", { toPorts: [{ ...port, terminatingTLS: { secret: { name: "s" } } }] }, "terminating TLS"],
    ["egress", { toPorts: [{ ...port, originatingTLS: { secret: { name: "s" } } }] }, "originating TLS"],
    [
      "egress",
      { toPorts: [{ ...port, listener: { name: "l", envoyConfig: { name: "e" } } }] },
      "redirection to a listener",
    ],
    ["ingress", { fromEndpoints: [{}], authentication: { mode: "required" } }, "authentication of both sides"],
    ["ingress", { fromGroups: [{ aws: { securityGroupsIds: ["sg-1"] } }] }, "groups of a cloud"],
    ["egress", { toCIDRSet: [{ cidrGroupRef: "g" }, { cidr: "10.0.0.0/8" }] }, "groups of CIDRs"],
    ["egress", { toCIDRSet: [{ cidrGroupSelector: {} }] }, "groups of CIDRs"],
  ];
  for (const [list, item, what] of unserved) {
    const rule = ruleOf(item, list);
    assert.deepEqual([rule.peers, rule.unserved.map((each) => each.what)], [[], [what]], JSON.stringify(item));
    const result = parsePolicy({ ...onWeb, [list]: [item] });
    const warned = result.issues.filter(({ code }) => code === "not-served");
    assert.deepEqual(
      warned.map(({ path }) => path),
      rule.unserved.map(({ origin }) => origin.path),
    );
    const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy");
    const { problems } = kind?.lower((result as { value: Parsed }).value, readAll("").view) ?? assert.fail();
    assert.deepEqual(
      problems.map(({ reason }) => reason),
      ["NotServed"],
    );
    assert.equal(problems[0]?.origin.path, rule.unserved[0]?.origin.path);
  }
  assert.equal(ruleOf({ fromGroups: [{}], ...ports({ port: "80" }) }, "ingressDeny").peers, "any");
  assert.equal(ruleOf({ toCIDRSet: [{ cidrGroupRef: "g" }] }, "egressDeny").peers, "any");
  assert.notDeepEqual(ruleOf({ fromEndpoints: [{}], authentication: { mode: "disabled" } }).peers, []);
});

test("findPolicy reads limits, options, descriptions and annotations", () => {
  const limit = (item: Spec): unknown => ruleOf({ toEndpoints: [{}], ...item }, "egress").bandwidth;
  assert.deepEqual(limit({ toBandwidth: { rate: "50M" } }), { bitsPerSecond: 50_000_000, burstBytes: undefined });
  assert.deepEqual(limit({ toBandwidth: { bitsPerSecond: 7, burstSize: 9 } }), { bitsPerSecond: 7, burstBytes: 9 });
  assert.deepEqual(limit({ toBandwidth: { rate: "1Gbit" }, fromBandwidth: { rate: "512Ki" } }), {
    bitsPerSecond: 524_288,
    burstBytes: undefined,
  });
  assert.equal(limit({}), undefined);
  assert.equal(ruleOf({ description: "why" }).description, "why");
  const [statement] = policyOf({ ingress: [{}], options: { xdp: "true" } }).statements;
  assert.deepEqual(statement?.options, { xdp: "true" });

  const annotated = (annotations: string): ReturnType<typeof readAll> =>
    readAll(
      `apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p, annotations: ${annotations}}\nspec: {endpointSelector: {}, ingress: [{}]}\n`,
    );
  const [shadow] = annotated("{bpfleet.io/mode: shadow, bpfleet.io/on-revoke: keep}").parsed;
  const policy = shadow === undefined ? undefined : findPolicy(shadow);
  assert.deepEqual([policy?.mode, policy?.onRevoke], ["shadow", "keep"]);
  const [plainOne] = annotated("{}").parsed;
  const usual = plainOne === undefined ? undefined : findPolicy(plainOne);
  assert.deepEqual([usual?.mode, usual?.onRevoke], ["enforce", "cut"]);
  const { parsed, issues } = annotated("{bpfleet.io/mode: shadwo, bpfleet.io/on-revoke: kepe}");
  const misspelt = parsed[0] === undefined ? undefined : findPolicy(parsed[0]);
  assert.deepEqual([misspelt?.mode, misspelt?.onRevoke], ["enforce", "cut"]);
  assert.deepEqual(
    issues.map(({ severity, message }) => `${severity}: ${message}`),
    [
      'warning: metadata.annotations["bpfleet.io/mode"]: must be enforce or shadow, is "shadwo"; read as enforce',
      'warning: metadata.annotations["bpfleet.io/on-revoke"]: must be cut or keep, is "kepe"; read as cut',
    ],
  );
});

test("findPolicy knows the line of YAML that each rule, peer and port comes from", () => {
  const { parsed } = readAll(
    "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {name: p}\nspec:\n  endpointSelector: {}\n  egress:\n    - toEndpoints:\n        - {}\n      toPorts:\n        - ports:\n            - port: '80'\n",
  );
  const [statement] = parsed[0] === undefined ? [] : (findPolicy(parsed[0])?.statements ?? []);
  const [rule] = statement?.egress.allow ?? [];
  assert.ok(rule !== undefined && rule.peers !== "any" && rule.ports !== "any");
  assert.deepEqual(
    [statement?.subject.origin, rule.origin, rule.peers[0]?.origin, rule.ports[0]?.origin].map(
      (origin) => origin?.position?.line,
    ),
    [5, 7, 8, 11],
  );
});
