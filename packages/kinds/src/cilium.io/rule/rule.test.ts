import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Parsed } from "../../kind.ts";
import { findKind } from "../../kinds.ts";
import type { Policy, PolicyRule } from "../../policy/policy.ts";
import { findPolicy } from "../../policy/read-policy.ts";
import { outcome } from "../../testing/outcomes.ts";
import { readAll } from "../../testing/read-all.ts";

type Spec = Readonly<Record<string, unknown>>;
const onWeb = { endpointSelector: { matchLabels: { app: "web" } } };
const onNodes = { nodeSelector: {} };

function parse(
  spec: Spec,
  kind = "CiliumNetworkPolicy",
): ReturnType<NonNullable<ReturnType<typeof findKind>>["parse"]> {
  return (
    findKind("cilium.io/v2", kind)?.parse({ apiVersion: "cilium.io/v2", kind, metadata: { name: "p" }, spec }) ??
    assert.fail()
  );
}

function policyOf(spec: Spec, kind?: string): Policy {
  const result = parse({ ...onWeb, ...spec }, kind);
  assert.ok(result.ok, result.issues.map(({ message }) => message).join("; "));
  return findPolicy(result.value) ?? assert.fail();
}

function ruleOf(item: Spec, list = "ingress"): PolicyRule {
  const [statement] = policyOf({ [list]: [item] }).statements;
  const side = list.startsWith("ingress") ? statement?.ingress : statement?.egress;
  return (list.endsWith("Deny") ? side?.deny : side?.allow)?.[0] ?? assert.fail();
}

/** Without origins, as JSON. */
function plain(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (key, field: unknown) =>
      key === "origin" ? undefined : field instanceof Uint8Array ? [...field].join(".") : field,
    ),
  );
}

function ports(...items: readonly Spec[]): Spec {
  return { toPorts: [{ ports: items }] };
}

/** The list, the item in it, and what is wrong with it; `spec.LIST[0]` is left off. */
const faults: readonly (readonly [list: string, item: Spec, ...messages: readonly RegExp[]])[] = [
  ["ingress", ports({ port: "65536" }), /^\.toPorts\[0\]\.ports\[0\]\.port: must be a port.*end at 65535/],
  ["ingress", ports({ port: "080" }), /octal/],
  ["ingress", ports({ port: "a--b" }), /a number or a name/],
  ["ingress", ports({ port: "" }), /must not be empty/],
  ["ingress", ports({ port: 80 }), /must be text, is 80; put it in quotes/],
  ["ingress", ports({ port: "80", protocol: "tcp" }), /must be one of TCP, .*did you mean TCP/],
  ["ingress", ports({ port: "80", endPort: 79 }), /\.endPort: must be at least port, which is 80, is 79/],
  ["ingress", ports({ port: "80", protocol: "GRE" }), /must be "0" for protocol GRE/],
  ["ingress", { toPorts: [{ ports: Array.from({ length: 41 }, () => ({ port: "1" })) }] }, /at most 40 items, has 41/],
  ["ingress", { icmps: [{ fields: Array.from({ length: 41 }, () => ({ type: 1 })) }] }, /at most 40 items, has 41/],
  ["ingress", { icmps: [{ fields: [{ type: 256 }] }] }, /type: must be 0 to 255 or the name of a type of IPv4, is 256/],
  ["ingress", { icmps: [{ fields: [{ type: "PacketTooBig" }] }] }, /is "PacketTooBig"; it is one of IPv6/],
  ["ingress", { icmps: [{ fields: [{ type: 8, family: "IPv5" }] }] }, /must be one of IPv4, IPv6/],
  [
    "ingress",
    { icmps: [{ fields: [{ type: 8 }] }], ...ports({ port: "80" }) },
    /^\.icmps: must not stand beside toPorts/,
  ],
  ["ingress", { fromEntities: ["internet"] }, /must be one of all, world/],
  ["ingress", { fromCIDR: ["10.0.0.0/33"] }, /length after the slash must be 0 to 32/],
  ["ingress", { fromCIDR: ["example.org"] }, /host names are not looked up/],
  ["ingress", { fromCIDRSet: [{}] }, /exactly one of cidr, cidrGroupRef and cidrGroupSelector, has none/],
  ["ingress", { fromCIDRSet: [{ cidr: "10.0.0.0/8", cidrGroupRef: "g" }] }, /has cidr and cidrGroupRef/],
  ["ingress", { fromCIDRSet: [{ cidr: "10.0.0.1" }] }, /must have a length; write 10\.0\.0\.1\/32/],
  [
    "ingress",
    { fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["11.0.0.0/9"] }] },
    /except\[0\]: must lie within 10\.0\.0\.0\/8/,
  ],
  ["ingress", { fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["::/9"] }] }, /except\[0\]: must lie within/],
  ["ingress", { fromRequires: [{}] }, /at most 0 items/],
  ["ingress", { toCIDR: ["10.0.0.0/8"] }, /at most 0 items/],
  ["ingress", { fromEndpoints: [{ matchLabels: { "a b": "x" } }] }, /must be the name of a label/],
  ["ingress", { fromEndpoints: [{ matchLabels: { a: "x y" } }] }, /must be a label's value/],
  [
    "ingress",
    { fromEndpoints: [{ matchExpressions: [{ key: "a", operator: "In" }] }] },
    /values: is required for operator In/,
  ],
  [
    "ingress",
    { fromEndpoints: [{ matchExpressions: [{ key: "a", operator: "Exists", values: ["b"] }] }] },
    /must be left out for operator Exists/,
  ],
  [
    "ingress",
    { toPorts: [{ ports: [{ port: "53" }], rules: { dns: [{ matchPattern: "*" }] } }] },
    /dns: is for egress only/,
  ],
  [
    "ingress",
    { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], listener: { name: "l" } }] },
    /listener: is for egress only/,
  ],
  [
    "ingress",
    { toPorts: [{ ports: [{ port: "80" }], rules: { http: [{}] } }] },
    /http: needs protocol TCP on every port/,
  ],
  [
    "ingress",
    { toPorts: [{ ports: [{ port: "0", protocol: "TCP" }], rules: { http: [{}] } }] },
    /must not stand beside port "0"/,
  ],
  [
    "ingress",
    { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [], kafka: [] } }] },
    /rules of one protocol only, has http and kafka/,
  ],
  ["ingress", { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { l7: [] } }] }, /l7: needs l7proto/],
  [
    "ingressDeny",
    { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{}] } }] },
    /rules: must not stand in a rule that denies/,
  ],
  ["egress", { toPorts: [{ rules: { dns: [{ matchName: "x" }] } }] }, /dns: needs a port/],
  [
    "egress",
    { toPorts: [{ ports: [{ port: "53", endPort: 54 }], rules: { dns: [{ matchName: "x" }] } }] },
    /endPort: must be left out beside rules\.dns/,
  ],
  ["egress", { toFQDNs: [{ matchName: "*.example.org" }] }, /matchName: must be a DNS name, without \*/],
  ["egress", { toFQDNs: [{ matchPattern: "*.exam ple.org" }] }, /matchPattern: must be a DNS name in which \*/],
  ["egress", { toFQDNs: [{}] }, /exactly one of matchName and matchPattern, has 0/],
  ["egress", { toServices: [{}] }, /exactly one of k8sService and k8sServiceSelector/],
  ["egress", { toServices: [{ k8sService: { namespace: "x" } }] }, /serviceName: is required/],
  [
    "egress",
    { toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], serverNames: [""] }] },
    /serverNames\[0\]: must not be empty/,
  ],
  [
    "egress",
    { toPorts: [{ ports: [{ port: "443", protocol: "TCP" }], serverNames: ["x"], rules: { http: [{}] } }] },
    /serverNames: must not stand beside rules without terminatingTLS/,
  ],
  ["egress", { toEndpoints: [{}], toBandwidth: { rate: "fast" } }, /rate: must be bits each second/],
  ["egress", { toEndpoints: [{}], toBandwidth: {} }, /exactly one of rate and bitsPerSecond/],
];

test("CiliumNetworkPolicy refuses each construct that Cilium refuses, and says where", () => {
  for (const [list, item, ...messages] of faults) {
    const errors = parse({ ...onWeb, [list]: [item] }).issues.filter(({ severity }) => severity === "error");
    const told = errors.map(({ message }) => message.replace(`spec.${list}[0]`, ""));
    assert.equal(told.length, messages.length, `${JSON.stringify(item)}: ${told.join("; ")}`);
    for (const [index, message] of messages.entries()) assert.match(told[index] ?? "", message);
  }
});

test("CiliumClusterwideNetworkPolicy takes one of both selectors, and no HTTP about nodes", () => {
  const errors = (spec: Spec): readonly string[] =>
    parse(spec, "CiliumClusterwideNetworkPolicy").issues.flatMap(({ severity, message }) =>
      severity === "error" ? [message] : [],
    );
  assert.deepEqual(errors({ ...onWeb, ...onNodes, ingress: [{}] }), [
    "spec: must not have both endpointSelector and nodeSelector",
  ]);
  assert.match(errors({ ingress: [{}] }).join(), /must have endpointSelector or nodeSelector/);
  const http = { toPorts: [{ ports: [{ port: "80", protocol: "TCP" }], rules: { http: [{}] } }] };
  assert.deepEqual(errors({ ...onNodes, ingress: [http] }), [
    "spec.ingress[0].toPorts[0].rules.http: must not stand in a rule about nodes",
  ]);
  assert.deepEqual(errors({ ...onNodes, ingress: [{ fromEntities: ["cluster"] }] }), []);
});

test("CiliumNetworkPolicy has specs beside spec or in its place, and says what is missing", () => {
  const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy") ?? assert.fail();
  const head = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p", namespace: "x" } };
  const messages = (rest: object): readonly string[] =>
    kind.parse({ ...head, ...rest }).issues.map(({ message }) => message);
  const rule = { ...onWeb, ingress: [{ fromEndpoints: [{}] }] };
  assert.deepEqual(messages({}), ["spec: is required"]);
  assert.deepEqual(messages({ specs: [] }), ["specs: must have at least one item where there is no spec"]);
  assert.deepEqual(messages({ specs: [{ ...rule, ingres: 1 }] }), [
    "specs[0].ingres: unknown field, left out; did you mean ingress?",
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
  assert.deepEqual(read(ports({ port: "8000", endPort: 8010, protocol: "TCP" })), [range("TCP", 8000, 8010)]);
  assert.deepEqual(read(ports({ port: "HTTPS", protocol: "TCP" })), [
    { match: "named-port", protocol: "TCP", name: "https" },
  ]);
  assert.deepEqual(read(ports({ port: "0", protocol: "VRRP" })), [{ match: "ip-protocol", number: 112 }]);
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
    const result = parse({ ...onWeb, [list]: [item] });
    const warned = result.issues.filter(({ code }) => code === "not-served");
    assert.deepEqual(
      warned.map(({ path }) => path),
      rule.unserved.map(({ origin }) => origin.path),
    );
    const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy");
    const { problems } = kind?.lower((result as { value: Parsed }).value, readAll("").view) ?? assert.fail();
    assert.deepEqual(
      problems.map(({ reason }) => reason),
      ["NotServed", "NotServed"],
    );
    assert.equal(problems[1]?.origin.path, rule.unserved[0]?.origin.path);
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
  assert.match(
    annotated("{bpfleet.io/mode: shadwo}").issues[0]?.message ?? "",
    /must be enforce or shadow, is "shadwo"/,
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

test("CiliumNetworkPolicy is told to be valid, and not served", () => {
  const result = parse({ ...onWeb, ingress: [{}] });
  const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy") ?? assert.fail();
  assert.ok(result.ok);
  const { problems } = kind.lower(result.value, readAll("").view);
  const status = kind.status(result.value, outcome({ problems })) as {
    conditions: readonly { type: string; status: string; reason: string; message: string }[];
  };
  assert.deepEqual(
    status.conditions.map(({ type, status: is, reason }) => [type, is, reason]),
    [
      ["Ready", "False", "NotServed"],
      ["Valid", "True", "Valid"],
      ["Accepted", "False", "NotServed"],
    ],
  );
  assert.match(status.conditions[0]?.message ?? "", /^CiliumNetworkPolicy is not served yet/);
});

test("CiliumNetworkPolicy is invalid in its status where nodes could not read it", () => {
  const kind = findKind("cilium.io/v2", "CiliumNetworkPolicy") ?? assert.fail();
  const object = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p", generation: 2 } };
  const conditions = ["Ready", "Accepted"].map((type) => ({
    type,
    status: "False" as const,
    reason: "Invalid",
    message: "spec: is required",
  }));
  const status = kind.aggregate(object, {
    results: ["n1", "n2"].map((nodeName) => ({ nodeName, state: "Failed" as const, conditions, numbers: {} })),
    silentNodes: [],
    previousStatus: undefined,
    clock: { now: () => 0, monotonicMs: () => 0 },
  }) as { conditions: readonly { type: string; status: string; reason: string; message: string }[] };
  const valid = status.conditions.find(({ type }) => type === "Valid");
  assert.deepEqual(
    [valid?.status, valid?.reason, valid?.message],
    ["False", "Invalid", "spec: is required (on 2 of 2 nodes: n1, n2)"],
  );
});

test("CiliumNetworkPolicy is read whatever it holds, and allows nothing that is not written", () => {
  const word = fc.constantFrom(
    "",
    "80",
    "0",
    "http",
    "TCP",
    "ANY",
    "10.0.0.0/8",
    "*.x.org",
    "world",
    "host",
    "In",
    "k8s:app",
  );
  const leaf = fc.oneof(word, fc.constantFrom(0, 1, 8, 70000, null, true, false));
  const lists = "endpointSelector nodeSelector ingress ingressDeny egress egressDeny enableDefaultDeny".split(" ");
  const names = [
    "fromEndpoints toEndpoints fromCIDR toCIDR fromCIDRSet toCIDRSet cidr except toFQDNs fromEntities",
    "toEntities toServices k8sService k8sServiceSelector selector toPorts ports port endPort protocol",
    "rules dns http icmps fields type family matchLabels matchExpressions key operator values matchName",
    "matchPattern toBandwidth rate options",
  ]
    .concat(lists)
    .flatMap((line) => line.split(" "));
  const { tree } = fc.letrec<{ tree: unknown }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 7, withCrossShrink: true },
      leaf,
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...names), tie("tree"), { maxKeys: 4 }),
    ),
  }));
  const spec = fc.dictionary(fc.constantFrom(...lists), tree, { minKeys: 1, maxKeys: 5 });
  fc.assert(
    fc.property(spec, fc.boolean(), (value, isNode) => {
      const result = parse(
        { ...value, ...(isNode ? onNodes : onWeb) },
        isNode ? "CiliumClusterwideNetworkPolicy" : "CiliumNetworkPolicy",
      );
      if (!result.ok) return;
      for (const { ingress, egress } of findPolicy(result.value)?.statements ?? assert.fail())
        for (const rule of [...ingress.allow, ...egress.allow])
          assert.ok(rule.peers !== "any" || rule.ports !== "any", "a rule that allows everything");
    }),
    { numRuns: 3000 },
  );
});
