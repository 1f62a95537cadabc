import assert from "node:assert/strict";
import { test } from "node:test";
import { builtImages } from "./operator-deployment.ts";
import { parseSettings, usualSettings } from "./settings.ts";

function messages(data: Readonly<Record<string, string>>): readonly string[] {
  const parsed = parseSettings(data, builtImages);
  assert.equal(parsed.ok, parsed.issues.length === 0);
  return parsed.issues.map(({ message }) => message);
}

test("parseSettings refuses resources that an API server would refuse, with key and reason", () => {
  const told = (text: string): readonly string[] => messages({ "bpfleet.agent-resources": text });
  for (const [text, reason] of [
    [
      "{limits: {example.com/foo: 100m}}",
      'limits.example.com/foo must be a whole number: it is not divided, is "100m"',
    ],
    [
      "{requests: {example.com/dev: 1}}",
      "requests.example.com/dev needs the same limit: nobody gets more of it than he asks for",
    ],
    ["{requests: {a.b/c: 1}, limits: {a.b/c: 2}}", "requests.a.b/c must be its limit of 2"],
    ["{limits: {hugepages-2Mi: 64Mi}}", "hugepages need cpu or memory beside them"],
    ["{limits: {memory: 1Gi, hugepages-2Mi: 3Mi}}", 'limits.hugepages-2Mi must be a multiple of 2Mi, is "3Mi"'],
    ["{limits: {memory: 64Mi}, requests: {memory: 1Gi}}", "requests.memory is more than its limit of 64Mi"],
    ["{limits: {a..b/c: 1}}", 'limits: "a..b/c" is no resource'],
    ["{limits: {x.kubernetes.io/c: 1}}", 'limits: "x.kubernetes.io/c" is no resource'],
    ["{limits: {requests.a/c: 1}}", 'limits: "requests.a/c" is no resource'],
    ["{limits: {gpu: 1}}", 'limits: "gpu" is no resource'],
  ] as const)
    assert.deepEqual(told(text), [`bpfleet.agent-resources: ${reason}`]);
  for (const text of [
    "{limits: {example.com/foo: 1}}",
    "{requests: {a.b/c: 2, cpu: 0.5}, limits: {a.b/c: 2}}",
    "{requests: {memory: 64Mi}, limits: {hugepages-2Mi: 64Mi}}",
    "{requests: {memory: 64Mi, ephemeral-storage: 1Gi}}",
  ])
    assert.deepEqual(told(text), []);
});

test("parseSettings refuses labels, names of Secrets and folders that an API server would refuse", () => {
  assert.deepEqual(messages({ "bpfleet.node-selector": "{a..b/c: d}" }), [
    'bpfleet.node-selector: "a..b/c" is no label',
  ]);
  assert.deepEqual(messages({ "bpfleet.node-selector": "{a/b/c: d}" }), ['bpfleet.node-selector: "a/b/c" is no label']);
  assert.deepEqual(messages({ "bpfleet.node-selector": "{node-role.kubernetes.io/edge: ''}" }), []);
  assert.deepEqual(messages({ "bpfleet.tolerations": "[{key: -a, operator: Exists}]" }), [
    "bpfleet.tolerations: [0] key must be that of a taint",
  ]);
  assert.deepEqual(messages({ "bpfleet.image-pull-secrets": "a, b a,Not_A_Name" }), [
    'bpfleet.image-pull-secrets: "Not_A_Name" is no name of a Secret',
    "bpfleet.image-pull-secrets: a is there twice",
  ]);
  assert.deepEqual(messages({ "bpfleet.image-pull-secrets": "a, b c" }), []);
  assert.deepEqual(messages({ "bpfleet.cni-bin-dir": "/etc/cni/net.d" }), [
    'bpfleet.cni-bin-dir: must be another folder than bpfleet.cni-conf-dir, is "/etc/cni/net.d"',
  ]);
  for (const folder of ["opt/cni", "/opt/./cni", "/opt/../cni", "/", "/opt/cni/"])
    assert.deepEqual(messages({ "bpfleet.cni-bin-dir": folder }), [
      `bpfleet.cni-bin-dir: must be the path of a folder from the root, is ${JSON.stringify(folder)}`,
    ]);
});

test("usualSettings says what of the operator's own is wrong with them", () => {
  const images = { daemonImage: "a daemon", agentImage: "agent:1" };
  assert.throws(() => usualSettings(images), {
    message:
      'read the usual settings: bpfd.image: must be the name of an image, is "a daemon"; put right BPFD_IMG and BPFD_AGENT_IMG of the operator',
  });
});
