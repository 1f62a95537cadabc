import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { findKind } from "../../kinds.ts";
import { findPolicy } from "../../policy/read-policy.ts";
import { outcome } from "../../testing/outcomes.ts";
import { onWeb, parsePolicy, ports, ruleOf, type Spec } from "../../testing/policies.ts";
import { readAll } from "../../testing/read-all.ts";

const onNodes: Spec = { nodeSelector: {} };

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
    const errors = parsePolicy({ ...onWeb, [list]: [item] }).issues.filter(({ severity }) => severity === "error");
    const told = errors.map(({ message }) => message.replace(`spec.${list}[0]`, ""));
    assert.equal(told.length, messages.length, `${JSON.stringify(item)}: ${told.join("; ")}`);
    for (const [index, message] of messages.entries()) assert.match(told[index] ?? "", message);
  }
});

test("CiliumNetworkPolicy warns of a rule that denies and means nobody", () => {
  const warned = (list: string, item: Spec): readonly string[] =>
    parsePolicy({ ...onWeb, [list]: [item] }).issues.flatMap(({ code, message }) =>
      code === "empty-rule" ? [message] : [],
    );
  assert.deepEqual(warned("ingressDeny", {}), [
    "spec.ingressDeny[0]: is an empty rule, which denies nobody, as with Cilium; write fromEntities: [all] to deny everybody",
  ]);
  assert.deepEqual(warned("egressDeny", { description: "all", toPorts: [], icmps: [] }), [
    "spec.egressDeny[0]: is an empty rule, which denies nobody, as with Cilium; write toEntities: [all] to deny everybody",
  ]);
  for (const item of [{}, { description: "all" }])
    assert.deepEqual([ruleOf(item, "ingressDeny").peers, ruleOf(item, "egressDeny").peers], [[], []]);
  assert.deepEqual(warned("ingress", {}), []);
  for (const item of [{ fromEntities: ["all"] }, { fromEndpoints: [] }, ports({ port: "80" }), { fromPods: [{}] }])
    assert.deepEqual(warned("ingressDeny", item), [], JSON.stringify(item));
});

test("CiliumNetworkPolicy says what endPort makes of a port that is no number, or 0", () => {
  const warned = (port: Spec): readonly string[] =>
    parsePolicy({ ...onWeb, ingress: [ports(port)] }).issues.map(({ code, message }) =>
      `${code} ${message}`.replace("spec.ingress[0].toPorts[0].ports[0].", ""),
    );
  assert.deepEqual(warned({ port: "0", endPort: 80 }), [
    'from-zero endPort: makes of port "0", which alone is any port, a range: 0 to 80',
  ]);
  assert.deepEqual(warned({ port: "http", endPort: 80 }), []);
  assert.deepEqual(warned({ port: "0", endPort: 80, protocol: "GRE" }), [
    "no-effect endPort: has no effect with protocol GRE, which has no ports",
  ]);
  for (const port of [{ port: "0" }, { port: "0", endPort: 0 }, { port: "0", endPort: 65535 }])
    assert.deepEqual(warned(port), []);
});

test("CiliumNetworkPolicy learns no names by an empty list of DNS rules, and says so", () => {
  const warned = (dns: readonly Spec[]): readonly string[] => {
    const toPorts = [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns } }];
    const egress = [{ toFQDNs: [{ matchName: "a.test" }] }, { toPorts }];
    return parsePolicy({ ...onWeb, egress }).issues.map(({ code, path }) => `${code} ${path}`);
  };
  assert.deepEqual(warned([]), ["not-served /spec/egress/1/toPorts/0/rules/dns", "no-dns /spec/egress/0/toFQDNs"]);
  assert.deepEqual(warned([{ matchPattern: "*" }]), []);
});

test("CiliumNetworkPolicy learns no names at another port than 53, whatever Service asks there, and says so", () => {
  const warned = (port: object, pattern = "*"): readonly string[] => {
    const toPorts = [{ ports: [port], rules: { dns: [{ matchPattern: pattern }] } }];
    const egress = [{ toFQDNs: [{ matchName: "a.test" }] }, { toPorts }];
    return parsePolicy({ ...onWeb, egress }).issues.map(({ code, path }) => `${code} ${path}`);
  };
  const nothingIsLearnt = "no-dns /spec/egress/0/toFQDNs";
  for (const port of [{ port: "5353" }, { port: "dns", protocol: "UDP" }])
    assert.deepEqual(warned(port), ["no-dns /spec/egress/1/toPorts/0/ports/0/port", nothingIsLearnt]);
  assert.deepEqual(warned({ port: "53", protocol: "TCP" }), [nothingIsLearnt]);
  for (const port of [{ port: "53" }, { port: "53", protocol: "ANY" }]) assert.deepEqual(warned(port, "a.*"), []);
  const toPorts = (pattern: string): object => ({
    toPorts: [{ ports: [{ port: "5353" }], rules: { dns: [{ matchPattern: pattern }] } }],
  });
  const says = (pattern: string): string =>
    parsePolicy({ ...onWeb, egress: [toPorts(pattern)] })
      .issues.map(({ message }) => message)
      .join();
  assert.match(says("*"), /is not 53, .*: nothing is learnt$/);
  assert.match(says("*.test"), /: nothing is learnt, and nobody is let through by it$/);
});

test("CiliumNetworkPolicy learns names by what any of its specs says of the same pods", () => {
  const dns = { toPorts: [{ ports: [{ port: "53", protocol: "UDP" }], rules: { dns: [{ matchPattern: "*" }] } }] };
  const names = { ...onWeb, egress: [{ toFQDNs: [{ matchName: "a.test" }] }] };
  const warned = (...rules: readonly Spec[]): readonly string[] => {
    const object = { apiVersion: "cilium.io/v2", kind: "CiliumNetworkPolicy", metadata: { name: "p" } };
    const result = findKind("cilium.io/v2", "CiliumNetworkPolicy")?.parse({ ...object, spec: names, specs: rules });
    return (result?.issues ?? []).map(({ code, path }) => `${code} ${path}`);
  };
  const alone = "no-dns /spec/egress/0/toFQDNs";
  const webOf = { endpointSelector: { matchLabels: { app: "web", of: "shop" } } };
  assert.deepEqual(warned({ ...onWeb, egress: [dns] }), []);
  assert.deepEqual(warned(names, { endpointSelector: {}, egress: [dns] }), []);
  assert.deepEqual(warned({ ...webOf, egress: [dns] }), [alone]);
  assert.deepEqual(warned({ ...onWeb, egress: [{}] }), [alone]);
  assert.deepEqual(warned({ ...onWeb, egress: [{ ...dns, toPorts: 7 }] }).includes(alone), true);
});

test("CiliumClusterwideNetworkPolicy takes one of both selectors, and no HTTP about nodes", () => {
  const errors = (spec: Spec): readonly string[] =>
    parsePolicy(spec, "CiliumClusterwideNetworkPolicy").issues.flatMap(({ severity, message }) =>
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

test("CiliumNetworkPolicy stays quick when names of labels are endless", () => {
  for (const key of ["a".repeat(1_000_000), "a.".repeat(500_000), `${"a-".repeat(200)}!`, `${"a.".repeat(250)}!`]) {
    const begin = performance.now();
    const { ok } = parsePolicy({ endpointSelector: { matchLabels: { [key]: "x" } }, ingress: [{}] });
    assert.equal(ok, false);
    assert.ok(performance.now() - begin < 5000);
  }
});

test("CiliumNetworkPolicy is told to be valid, and what of it is not served", () => {
  const toPorts = [{ ports: [{ port: "5353" }], rules: { dns: [{ matchName: "example.org" }] } }];
  const result = parsePolicy({ ...onWeb, ingress: [{}], egress: [{ toPorts }] });
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
  assert.match(
    status.conditions[0]?.message ?? "",
    /^spec\.egress\[0\]\.toPorts\[0\]\.ports\[0\] is not served yet; nobody is let through by DNS rules/,
  );
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
      const result = parsePolicy(
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

test("a selector that names another namespace, and a CIDR that is excepted whole, are warned of", () => {
  const warnings = (spec: Spec): readonly string[] =>
    parsePolicy(spec).issues.flatMap(({ severity, message }) => (severity === "warning" ? [message] : []));
  const elsewhere = { "k8s:io.kubernetes.pod.namespace": "y", app: "web" };
  const [other] = warnings({ endpointSelector: { matchLabels: elsewhere }, ingress: [{}] });
  assert.match(other ?? "", /names namespace "y"; the policy is in default and selects pods there, whatever/);
  const cidr = (...except: readonly string[]): readonly string[] =>
    warnings({ ...onWeb, ingress: [{ fromCIDRSet: [{ cidr: "10.0.0.0/8", except }] }] });
  assert.match(cidr("10.0.0.0/8")[0] ?? "", /except\[0\]: is all of 10\.0\.0\.0\/8, so nobody is meant/);
  assert.deepEqual(cidr("10.0.0.0/9"), []);
});
