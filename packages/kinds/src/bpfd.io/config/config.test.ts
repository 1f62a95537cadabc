import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { test } from "node:test";
import type { BytecodeIntent } from "@bpfleet/features";
import { issueLines, readAll } from "../../testing/read-all.ts";

const kinds = ["BpfProgramConfig", "EbpfProgramConfig"] as const;

function config(spec: string, kind: (typeof kinds)[number] = "BpfProgramConfig", name = "c"): string {
  const indented = spec.trim().replaceAll(/^/gm, "  ");
  return `apiVersion: bpfd.io/v1alpha1\nkind: ${kind}\nmetadata: {name: ${name}}\nspec:\n${indented}\n`;
}

function lowered(text: string): BytecodeIntent {
  const { issues, lower } = readAll(text);
  assert.deepEqual(
    issues.filter(({ severity }) => severity === "error"),
    [],
  );
  const [intent, ...more] = lower().intents as readonly BytecodeIntent[];
  assert.ok(intent !== undefined && more.length === 0);
  return intent;
}

const xdp = "name: pass\ntype: XDP\nnodeselector: {}\n";
const onEth0 = "attachpoint: {networkmultiattach: {interface: eth0, priority: 5}}\n";
const image = "quay.io/bpfd-bytecode/xdp_pass:latest";

const forms: Readonly<Record<string, string>> = {
  E1: `${xdp}priority: 5\nattachpoint: {interface: eth0}\nbytecode: {imageurl: ${image}}`,
  E2: `${xdp}${onEth0}bytecode: image://${image}`,
  E3: `${xdp}attachpoint: {networkmultiattach: {interfaceselector: {interface: eth0}, priority: 5}}\nbytecode: image://${image}`,
  E4: `${xdp}attachpoint: {networkmultiattach: {interfaceselector: {interface: eth0}, priority: 5, direction: NONE}}\nbytecode: {image: {url: ${image}, imagepullpolicy: IfNotPresent}}`,
};

test("lowerConfig makes the same of every form that the API had, under both names", () => {
  const base = { from: "image", reference: image, pullPolicy: "IfNotPresent" };
  for (const kind of kinds) {
    for (const [form, spec] of Object.entries(forms)) {
      assert.deepEqual(issueLines(config(spec, kind)), [], form);
      const { origin, source, ...intent } = lowered(config(spec, kind));
      assert.deepEqual({ ...source }, form === "E4" ? { ...base, pullSecret: undefined } : base, form);
      assert.deepEqual(origin.object, { group: "bpfd.io", kind, namespace: "", name: "c" });
      assert.equal(origin.position?.line, 4);
      assert.deepEqual(intent, {
        feature: "bytecode",
        section: "pass",
        at: { hook: "xdp", interfaces: { names: ["eth0"] } },
        priority: 5,
        proceedOn: [2],
        globals: {},
        sharedMaps: {},
      });
    }
  }
});

test("lowerConfig takes the YAML of the documents as it is", () => {
  const samples = globSync("../{bpfprogramconfig,ebpfprogramconfig}/samples/xdp-pass-all-nodes.yaml", {
    cwd: import.meta.dirname,
  });
  assert.equal(samples.length, 2);
  for (const file of samples) {
    const text = readFileSync(`${import.meta.dirname}/${file}`, "utf8");
    assert.deepEqual(issueLines(text), []);
    const { at, section, priority, source } = lowered(text);
    assert.deepEqual([at, section, priority], [{ hook: "xdp", interfaces: { names: ["eth0"] } }, "pass", 0]);
    assert.match(source.from === "image" ? source.reference : "", /^quay\.io\/bpfd/);
  }
});

test("parseBytecode takes images of any host, and files", () => {
  const digest = `sha256:${"0a".repeat(32)}`;
  const images = [
    "localhost/x",
    "localhost:5000/a/b:c",
    "registry.example.com/x_pass:latest",
    "127.0.0.1:5000/x",
    "[::1]:5000/x",
    "xdp_pass",
    `quay.io/a/b:c@${digest}`,
  ];
  for (const reference of images) {
    for (const bytecode of [
      `"image://${reference}"`,
      `{imageurl: "${reference}"}`,
      `{image: {url: "image://${reference}"}}`,
    ]) {
      const { source } = lowered(config(`${xdp}${onEth0}bytecode: ${bytecode}`));
      assert.equal(source.from === "image" && source.reference, reference, bytecode);
    }
  }
  for (const bytecode of ["file:///bytecode/x.o", "file:/bytecode/x.o", "{path: /bytecode/x.o}"]) {
    const { source } = lowered(config(`${xdp}${onEth0}bytecode: ${bytecode}`));
    assert.deepEqual(source, { from: "file", path: "/bytecode/x.o" });
  }
});

test("parseBytecode says where and what is wrong", () => {
  const lines = (bytecode: string): string[] => issueLines(config(`${xdp}${onEth0}bytecode: ${bytecode}`));
  const cases: readonly [string, RegExp][] = [
    ["quay.io/a/b", /^9: error spec\.bytecode: must be image:\/\/REFERENCE.*; write image:\/\/quay\.io\/a\/b$/],
    ["/x.o", /; write file:\/\/\/x\.o$/],
    ["file://x/y.o", /; a path has three slashes: file:\/\/\/x\/y\.o$/],
    ["https://x/y", /must be image:\/\/REFERENCE or file:\/\/\/PATH, is "https:\/\/x\/y"$/],
    ["file:///a/../b", /must be an absolute path without \. and \.\./],
    ["image://quay.io/A/b", /repositories are lower-case$/],
    ["5", /must be text such as image:.*, is 5$/],
    ["{}", /must have exactly one of imageurl, path and image, has 0$/],
    ["{imageurl: x, path: /y}", /exactly one of imageurl, path and image, has 2$/],
    ["{path: y/z}", /^9: error spec\.bytecode\.path: must be an absolute path/],
    ["{image: {}}", /spec\.bytecode\.image\.url: is required$/],
    ["{image: {url: x, imagepullpolicy: Sometimes}}", /imagepullpolicy: must be one of Always, Never, IfNotPresent/],
    ["{image: {url: x, imagepullsecret: A B}}", /imagepullsecret: must be the name of a Secret/],
    ["{imageURL: x, path: /y}", /warning spec\.bytecode\.imageURL: unknown field, left out; did you mean imageurl/],
  ];
  for (const [bytecode, expected] of cases) assert.match(lines(bytecode).join("\n"), expected, bytecode);
});

test("lowerConfig names the Secret that is there", () => {
  const spec = `${xdp}${onEth0}bytecode: {image: {url: x, imagepullpolicy: Always, imagepullsecret: regcred}}`;
  const secretIn = (namespace: string, key = ".dockerconfigjson"): string =>
    `---\napiVersion: v1\nkind: Secret\nmetadata: {name: regcred, namespace: ${namespace}}\nstringData: {${key}: "{}"}\n`;
  const sourceWith = (more: string) => readAll(`${config(spec)}${more}`).lower();
  const found = sourceWith(secretIn("kube-system")).intents[0] as BytecodeIntent;
  assert.deepEqual(found.source, {
    from: "image",
    reference: "x",
    pullPolicy: "Always",
    pullSecret: "kube-system/regcred",
  });
  const missing = sourceWith("");
  assert.equal(
    (missing.intents[0] as BytecodeIntent & { source: { pullSecret: string } }).source.pullSecret,
    "bpfd/regcred",
  );
  assert.deepEqual(
    missing.problems.map(({ severity, reason }) => [severity, reason]),
    [["note", "SecretNotFound"]],
  );
  assert.deepEqual(sourceWith(secretIn("bpfd", ".dockercfg")).problems, []);
  assert.deepEqual(
    sourceWith(secretIn("bpfd", "password")).problems.map(({ severity, message }) => [severity, message]),
    [
      [
        "note",
        "Secret bpfd/regcred has no key .dockerconfigjson; the image is pulled without it; make it with `kubectl create secret docker-registry`",
      ],
    ],
  );
});

test("lowerConfig serves every type at its place", () => {
  const bytecode = "bytecode: file:///x.o\n";
  const placeOf = (type: string, attachpoint: string) => {
    const pod = `---\napiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: prod, labels: {app: web}, annotations: {bpfleet.io/cgroup: a/web}}\n`;
    const text = config(`name: p\ntype: ${type}\nnodeselector: {}\nattachpoint: ${attachpoint}\n${bytecode}`);
    assert.deepEqual(issueLines(text), []);
    return (readAll(text + pod).lower().intents[0] as BytecodeIntent).at;
  };
  const network = (more: string) => `{networkmultiattach: {interface: eth0, priority: 0, ${more}}}`;
  const names = { names: ["eth0"] };
  assert.deepEqual(placeOf("TC", network("direction: EGRESS")), { hook: "tc", interfaces: names, direction: "egress" });
  assert.deepEqual(placeOf("TC", network("direction: NONE")), { hook: "tc", interfaces: names, direction: "ingress" });
  assert.deepEqual(placeOf("TRACEPOINT", "{singleattach: {name: a/b}}"), { hook: "tracepoint", name: "a/b" });
  assert.deepEqual(placeOf("RAW_TRACEPOINT", "{singleattach: {name: sys_enter}}"), {
    hook: "raw_tracepoint",
    name: "sys_enter",
  });
  assert.deepEqual(placeOf("KPROBE", "{singleattach: {name: f, offset: 4}}"), {
    hook: "kprobe",
    function: "f",
    offset: 4,
  });
  assert.deepEqual(placeOf("URETPROBE", "{singleattach: {name: f, binary: /bin/x}}"), {
    hook: "uretprobe",
    binary: "/bin/x",
    function: "f",
    offset: 0,
  });
  assert.deepEqual(placeOf("FENTRY", "{singleattach: {name: f}}"), { hook: "fentry", function: "f" });
  const pods = [{ pod: "web", namespace: "prod", path: "a/web" }];
  assert.deepEqual(placeOf("CGROUP_SKB", "{cgroup: {namespace: prod, hook: egress}}"), {
    hook: "cgroup",
    attach: "egress",
    pods,
  });
  assert.deepEqual(placeOf("SOCKOPS", "{cgroup: {namespace: prod, podselector: {matchLabels: {app: web}}}}"), {
    hook: "cgroup",
    attach: "sock_ops",
    pods,
  });
  assert.deepEqual(placeOf("SOCKOPS", "{cgroup: {namespace: prod, podselector: {matchLabels: {app: db}}}}"), {
    hook: "cgroup",
    attach: "sock_ops",
    pods: [],
  });
});

test("lowerConfig takes the primary interface with the addresses of the node", () => {
  const spec = `${xdp}attachpoint: {networkmultiattach: {interfaceselector: {primarynodeinterface: true}, priority: 0}}\nbytecode: file:///x`;
  assert.deepEqual(lowered(config(spec)).at, { hook: "xdp", interfaces: { primary: true, addresses: [] } });
});

test("lowerConfig turns names of verdicts into codes", () => {
  const codes = (type: string, proceedon: string) =>
    lowered(
      config(
        `name: p\ntype: ${type}\nnodeselector: {}\nattachpoint: {networkmultiattach: {interface: eth0, priority: 0, proceedon: ${proceedon}}}\nbytecode: file:///x`,
      ),
    ).proceedOn;
  assert.deepEqual(codes("XDP", "[]"), [2]);
  assert.deepEqual(codes("XDP", "[PASS, DISPATCHER_RETURN]"), [2]);
  assert.deepEqual(codes("XDP", "[REDIRECT, ABORTED, DROP, TX]"), [0, 1, 3, 4]);
  assert.deepEqual(codes("TC", "[]"), [-1, 3]);
  assert.deepEqual(codes("TC", "[OK, REDIRECT]"), [0, 7]);
  assert.deepEqual(codes("TC", "[PASS, DROP]"), [-1, 3]);
});

test("checkConfig warns of verdicts, directions and priorities without effect", () => {
  const lines = (type: string, more: string) =>
    issueLines(
      config(
        `name: p\ntype: ${type}\nnodeselector: {}\npriority: 3\nattachpoint: {networkmultiattach: {interface: eth0, priority: 0, ${more}}}\nbytecode: file:///x`,
      ),
    ).join("\n");
  assert.match(
    lines("TC", "proceedon: [PASS]"),
    /warning spec\.attachpoint\.networkmultiattach\.proceedon: PASS: no verdict of type TC/,
  );
  assert.match(lines("XDP", "direction: INGRESS"), /direction: has no effect for type XDP/);
  assert.match(
    lines("XDP", ""),
    /8?: ?warning spec\.priority: has no effect here; spec\.attachpoint\.networkmultiattach\.priority is used/,
  );
});

test("lowerConfig asks for nothing on a node that is not selected", () => {
  const selected = (selector: string) => {
    const { intents, problems } = readAll(
      config(`name: p\ntype: XDP\nnodeselector: ${selector}\n${onEth0}bytecode: file:///x`),
    ).lower();
    return intents.length > 0
      ? "selected"
      : problems.map(({ severity, reason, message }) => `${severity} ${reason}: ${message}`)[0];
  };
  assert.equal(selected("{}"), "selected");
  assert.equal(selected("{matchLabels: {kubernetes.io/hostname: node-1}}"), "selected");
  assert.equal(
    selected("{matchLabels: {deploy-ebpf: 'true'}}"),
    "note nodeNotSelected: node node-1 is not selected: it has no label deploy-ebpf, not deploy-ebpf=true",
  );
  assert.equal(
    selected("{matchExpressions: [{key: kubernetes.io/arch, operator: In, values: [amd64, arm64]}]}"),
    "selected",
  );
  assert.equal(selected("{matchExpressions: [{key: gpu, operator: DoesNotExist}]}"), "selected");
  assert.equal(selected("{matchExpressions: [{key: gpu, operator: NotIn, values: [a]}]}"), "selected");
  assert.match(
    selected("{matchExpressions: [{key: gpu, operator: Exists}]}") ?? "",
    /it has no label gpu; asked for is gpu Exists$/,
  );
});

test("checkConfig and the rules tell every mistake with its line", () => {
  const text = `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: {name: c, namespace: default}
spec:
  name: pass all
  type: xdp
  nodeselector:
    matchExpressions: [{key: a, operator: Exists, values: [b]}]
  attachpoint:
    networkmultiattach:
      interface: eth0
      interfaceselector: {primarynodeinterface: false}
      priority: 1001
      direction: BOTH
      proceedon: [PASS, FAIL]
  bytecode: {}
  globals: {"a b": 1, c: {d: 1}, e: 1e300}
`;
  assert.deepEqual(
    issueLines(text).map((line) => line.split(": ").slice(0, 3).join(": ").slice(0, 90)),
    [
      "3: error metadata.namespace: must be left out",
      '5: error spec.name: must be a name without spaces, is "pass all"',
      "6: error spec.type: must be one of XDP, TC, TRACEPOINT, RAW_TRACEPOINT, KPROBE, KRETPROBE,",
      "8: error spec.nodeselector.matchExpressions[0].values: is required for operators In and No",
      "10: error spec.attachpoint.networkmultiattach: must have exactly one of interface and inte",
      "12: error spec.attachpoint.networkmultiattach.interfaceselector.primarynodeinterface: must",
      "13: error spec.attachpoint.networkmultiattach.priority: must be at most 1000, is 1001",
      "14: error spec.attachpoint.networkmultiattach.direction: must be one of NONE, INGRESS, EGR",
      "15: error spec.attachpoint.networkmultiattach.proceedon[1]: must be one of ABORTED, DROP, ",
      "16: error spec.bytecode: must have exactly one of imageurl, path and image, has 0",
      '17: error spec.globals["a b"]: "a b" is no name of a variable',
      "17: error spec.globals.c: must be a number, true or false, text, or a list of these, is a ",
      "17: error spec.globals.e: is too large to be exact; write it as text",
    ],
  );
});

test("configRules hold the attach point to the type", () => {
  const line = (type: string, attachpoint: string): string =>
    issueLines(
      config(`name: p\ntype: ${type}\nnodeselector: {}\nattachpoint: ${attachpoint}\nbytecode: file:///x`),
    ).join("\n");
  assert.match(
    line("XDP", "{singleattach: {name: a/b}}"),
    /^8: error spec\.attachpoint: must have interface or networkmultiattach, has singleattach: XDP attaches by it$/,
  );
  assert.match(
    line("TRACEPOINT", "{interface: eth0}"),
    /must have singleattach, has interface: TRACEPOINT attaches by it/,
  );
  assert.match(line("XDP", "{interface: eth0}"), /spec\.priority: is required with attachpoint\.interface/);
  assert.match(
    line("XDP", "{}"),
    /must have exactly one of interface, networkmultiattach, singleattach and cgroup, has 0/,
  );
  assert.match(line("TRACEPOINT", "{singleattach: {name: openat}}"), /must be category\/name for type TRACEPOINT/);
  assert.match(line("UPROBE", "{singleattach: {name: f}}"), /binary: is required for types UPROBE and URETPROBE/);
  assert.match(
    line("KPROBE", "{singleattach: {name: f, binary: /x}}"),
    /binary: is for types UPROBE and URETPROBE only/,
  );
  assert.match(line("SOCKOPS", "{cgroup: {namespace: prod, hook: egress}}"), /hook: must be sock_ops for type SOCKOPS/);
});

test("lowerConfig lets what runs go on after its image is refused only where the annotation says keep", () => {
  const of = (value: string) =>
    lowered(config(forms["E2"] ?? "").replace("{name: c}", `{name: c, annotations: {bpfleet.io/on-revoke: ${value}}}`))
      .keepsRevoked;
  assert.deepEqual([of("keep"), of("detach")], [true, undefined]);
});
