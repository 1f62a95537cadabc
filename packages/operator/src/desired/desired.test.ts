import assert from "node:assert/strict";
import { test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { agentAccess, operatorAccess, type AccessRule } from "./access.ts";
import { baseManifests } from "./base-manifests.ts";
import { daemonCapabilities } from "./capabilities.ts";
import { cleanupDaemonSet, daemonSet, type NodeSetup } from "./daemon-set.ts";
import type { Manifest } from "./manifest.ts";
import { annotations, secretNames } from "./names.ts";
import { nodeObjects } from "./node-objects.ts";
import { builtImages, operatorDeployment } from "./operator-deployment.ts";
import { userRoles } from "./roles.ts";
import { parseSettings } from "./settings.ts";

interface Container {
  readonly name: string;
  readonly image: string;
  readonly args?: readonly string[];
  readonly env?: readonly { readonly name: string; readonly value?: string }[];
  readonly securityContext: {
    readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
    readonly privileged?: boolean;
    readonly readOnlyRootFilesystem?: boolean;
    readonly runAsUser?: number;
  };
  readonly volumeMounts?: readonly {
    readonly name: string;
    readonly mountPath: string;
    readonly mountPropagation?: string;
    readonly readOnly?: boolean;
  }[];
}

interface Pod {
  readonly metadata: {
    readonly labels: Readonly<Record<string, string>>;
    readonly annotations: Readonly<Record<string, string>>;
  };
  readonly spec: {
    readonly containers: readonly Container[];
    readonly initContainers: readonly Container[];
    readonly volumes: readonly { readonly name: string; readonly hostPath?: object }[];
    readonly automountServiceAccountToken: boolean;
    readonly hostNetwork: boolean;
  };
}

function setup(data: Readonly<Record<string, string>> = {}): NodeSetup {
  const parsed = parseSettings(data, builtImages);
  assert.ok(parsed.ok, JSON.stringify(parsed.issues));
  return { settings: parsed.value, followsCilium: true, followsCalico: true };
}

function podOf(set: Manifest): Pod {
  return (set["spec"] as { readonly template: Pod }).template;
}

test("daemonSet has daemon and agent, of which only the daemon has capabilities and only the agent a token", () => {
  const { spec, metadata } = podOf(daemonSet(setup()));
  assert.deepEqual(
    spec.containers.map(({ name }) => name),
    ["bpfd", "bpfd-agent", "cni"],
  );
  const [daemon, agent, cni] = spec.containers;
  assert.ok(daemon !== undefined && agent !== undefined && cni !== undefined);
  assert.deepEqual(cni.securityContext.capabilities, { drop: ["ALL"] });
  assert.ok(cni.securityContext.readOnlyRootFilesystem === true && cni.securityContext.privileged !== true);
  assert.deepEqual(daemon.securityContext.capabilities, { drop: ["ALL"], add: Object.keys(daemonCapabilities) });
  const [raising] = podOf(daemonSet(setup({ "bpfleet.raise-memlock": "true" }))).spec.containers;
  assert.deepEqual(raising?.securityContext.capabilities?.add?.at(-1), "SYS_RESOURCE");
  assert.deepEqual(agent.securityContext.capabilities, { drop: ["ALL"] });
  assert.ok([daemon, agent].every(({ securityContext }) => securityContext.runAsUser === 65532));
  assert.ok([daemon, agent].every(({ securityContext }) => securityContext.readOnlyRootFilesystem === true));
  assert.ok([daemon, agent].every(({ securityContext }) => securityContext.privileged !== true));
  const mounted = ({ volumeMounts }: Container): readonly string[] => (volumeMounts ?? []).map(({ name }) => name);
  assert.ok(!mounted(daemon).includes("account") && mounted(agent).includes("account"));
  assert.ok(!mounted(daemon).includes("agent-tls") && !mounted(agent).includes("daemon-tls"));
  assert.equal(spec.automountServiceAccountToken, false);
  const ofHost = new Set(spec.volumes.flatMap(({ name, hostPath }) => (hostPath === undefined ? [] : [name])));
  const written = agent.volumeMounts?.filter(({ name, readOnly }) => readOnly !== true && ofHost.has(name));
  assert.deepEqual(written, [], "the agent writes nothing of the host");
  const sockets = [daemon, agent].map(({ env = [] }) => env.find(({ name }) => name === "BPFLEET_AGENT_SOCKET")?.value);
  assert.deepEqual(sockets, ["/run/bpfd-agent/bpfleet.sock", "/run/bpfd-agent/bpfleet.sock"]);
  assert.ok(mounted(daemon).includes("agent-run"));
  assert.deepEqual([metadata.labels["app"], metadata.labels["name"]], ["fos1-ebpf-controller", "bpfd-daemon"]);
  assert.equal(metadata.annotations["kubectl.kubernetes.io/default-container"], "bpfd");
});

test("every container of ours has a read-only root file system", () => {
  const { settings } = setup();
  const without = daemonSet(setup({ "bpfleet.cni": "off" }));
  for (const set of [daemonSet(setup()), without, cleanupDaemonSet(settings), operatorDeployment(builtImages)]) {
    const { spec } = podOf(set);
    for (const { name, securityContext } of [...(spec.initContainers ?? []), ...spec.containers])
      assert.equal(securityContext.readOnlyRootFilesystem, true, name);
  }
});

test("daemonSet mounts a bpffs for the host in a privileged container that ends, and every mount has its volume", () => {
  for (const set of [daemonSet(setup()), cleanupDaemonSet(setup().settings)]) {
    const { spec } = podOf(set);
    const volumes = spec.volumes.map(({ name }) => name);
    const all = [...spec.initContainers, ...spec.containers];
    for (const { name, volumeMounts = [] } of all)
      for (const mount of volumeMounts) assert.ok(volumes.includes(mount.name), `${name}: ${mount.name}`);
    const bidirectional = all.filter(({ volumeMounts }) =>
      volumeMounts?.some(({ mountPropagation }) => mountPropagation === "Bidirectional"),
    );
    const privileged = all.filter(({ securityContext }) => securityContext.privileged === true);
    assert.deepEqual(bidirectional, privileged);
    assert.deepEqual(
      privileged,
      spec.initContainers.filter(({ name }) => name !== "cni"),
    );
  }
});

test("daemonSet takes the CNI plug-in out where it is off, and cleanupDaemonSet with its binary", () => {
  const settings = { "bpfleet.cni": "off", "bpfleet.cni-conf-dir": "/etc/net.d" };
  const { spec } = podOf(daemonSet(setup(settings)));
  assert.deepEqual(
    spec.containers.map(({ name }) => name),
    ["bpfd", "bpfd-agent"],
  );
  const places = ["--conf-dir", "/etc/net.d", "--bin-dir", "/opt/cni/bin"];
  assert.deepEqual(spec.initContainers.at(-1)?.args, ["uninstall", "--keep-binary", ...places]);
  const [first] = podOf(cleanupDaemonSet(setup(settings).settings)).spec.initContainers;
  assert.deepEqual(first?.args, ["uninstall", ...places]);
  const wrong = { "bpfleet.cni": "yes", "bpfleet.cni-timeout-ms": "2s", "bpfleet.cni-bin-dir": "bin" };
  assert.deepEqual(
    parseSettings(wrong, builtImages)
      .issues.map(({ path }) => path)
      .toSorted(),
    ["/data/bpfleet.cni", "/data/bpfleet.cni-bin-dir", "/data/bpfleet.cni-timeout-ms"],
  );
});

test("nodeObjects never names the authority's Secret, which has its key", () => {
  assert.ok(!JSON.stringify(nodeObjects(setup())).includes(secretNames.authority));
});

test("daemonSet is rolled by each setting, and by nothing else", () => {
  const hash = (data: Readonly<Record<string, string>>): string | undefined =>
    podOf(daemonSet(setup(data))).metadata.annotations[annotations.configHash];
  const usual = hash({});
  assert.equal(hash({ "bpfd.namespace": "bpfd", note: "mine" }), usual);
  assert.equal(hash({ "bpfd.log.level": "info" }), usual);
  const others = [
    { "bpfd.log.level": "debug" },
    { "bpfd.agent.log.level": "debug" },
    { "bpfd.image": "x" },
    { "bpfd.agent.image": "x" },
    { "bpfd.toml": "[tls]\n" },
    { "bpfleet.metrics-address": "127.0.0.1" },
    { "bpfleet.node-selector": "{pool: edge}" },
    { "bpfleet.tolerations": "[]" },
    { "bpfleet.daemon-resources": "{}" },
    { "bpfleet.agent-resources": "{}" },
    { "bpfleet.cni": "off" },
    { "bpfleet.cni-failure-policy": "always" },
    { "bpfleet.cni-timeout-ms": "500" },
    { "bpfleet.host-access": "never" },
    { "bpfleet.fail-safe-ports": "in:usual,tcp/8443" },
    { "bpfleet.dns-seconds": "120" },
    { "bpfleet.grace-seconds": "0" },
  ].map(hash);
  assert.equal(new Set([...others, usual]).size, others.length + 1);
  assert.equal(
    podOf(daemonSet(setup({ "bpfd.log.level": "debug" }))).metadata.annotations[annotations.logLevel],
    "debug",
  );
});

test("parseSettings says all that is wrong at once, and what it does not know", () => {
  const wrong = parseSettings(
    {
      "bpfd.log.level": "loud",
      "bpfd.image": "a b",
      "bpfleet.enforce.cilium": "yes",
      "bpfleet.host-access": "no",
      "bpfleet.fail-safe-ports": "in:22",
      "bpfleet.dns-seconds": "2m",
    },
    builtImages,
  );
  assert.deepEqual(wrong.issues.map(({ path }) => path).toSorted(), [
    "/data/bpfd.image",
    "/data/bpfd.log.level",
    "/data/bpfleet.dns-seconds",
    "/data/bpfleet.enforce.cilium",
    "/data/bpfleet.fail-safe-ports",
    "/data/bpfleet.host-access",
  ]);
  const odd = parseSettings({ "bpfd.log.levl": "info" }, builtImages);
  assert.deepEqual(odd.ok && odd.issues.map(({ message }) => message), [
    "bpfd.log.levl: unknown key, without effect; did you mean bpfd.log.level?",
  ]);
  const served = parseSettings(
    { "bpfd.toml": "[interfaces.eth0]\nxdp_mode = 'drv'\n[grpc.endpoint]\nport = 1\n" },
    builtImages,
  );
  assert.match(
    (served.ok && served.issues[0]?.message) || "",
    /^bpfd\.toml: \[tls\] and \[grpc\.endpoint\] are without/,
  );
  const modes = parseSettings({ "bpfd.toml": "[interfaces.eth0]\nxdp_mode = 'drv'\n" }, builtImages);
  assert.deepEqual(modes.ok && modes.issues, []);
  const imagePolicy = "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\ndefault: {mode: off}\n";
  const signed = parseSettings({ "bpfleet.image-policy": imagePolicy }, builtImages);
  assert.equal(signed.ok && signed.value.imagePolicy, imagePolicy);
  // Daemons would not start with these.
  for (const [text, told] of [
    ["[interfaces.eth0\n", /^bpfd\.toml: Invalid TOML/],
    ["[interfaces.eth0]\nxdp_mode = 'fast'\n", /^bpfd\.toml: interfaces\.eth0\.xdp_mode/],
  ] as const) {
    const refusal = parseSettings({ "bpfd.toml": text }, builtImages);
    assert.equal(refusal.ok, false, text);
    assert.match(refusal.issues.at(-1)?.message ?? "", told);
    assert.doesNotMatch(refusal.issues.at(-1)?.message ?? "", /\n/);
  }
  const rust = parseSettings({ "bpfd.log.level": "debug,hyper=warn" }, builtImages);
  assert.equal(rust.ok && rust.value.agentLogLevel, "debug");
});

/** Whether `held` lets everything be done that `asked` lets. */
function covers(held: readonly AccessRule[], asked: AccessRule): boolean {
  return asked.apiGroups.every((group) =>
    asked.resources.every((resource) =>
      asked.verbs.every((verb) =>
        held.some(
          (rule) =>
            rule.resourceNames === undefined &&
            rule.apiGroups.includes(group) &&
            rule.resources.includes(resource) &&
            rule.verbs.includes(verb),
        ),
      ),
    ),
  );
}

test("operatorAccess holds all that it gives to the agent, and neither escalate nor bind", () => {
  const held = operatorAccess(kinds);
  for (const rule of agentAccess(kinds)) assert.ok(covers(held, rule), JSON.stringify(rule));
  for (const { verbs } of held)
    assert.ok(!verbs.includes("escalate") && !verbs.includes("bind") && !verbs.includes("*"));
});

test("daemonSet serves and asks for metrics at the port that is chosen, which is not the agent's", () => {
  const [daemon] = podOf(daemonSet(setup({ "bpfleet.metrics-port": "9191" }))).spec.containers;
  const text = JSON.stringify(daemon);
  assert.match(text, /"BPFLEET_METRICS_ADDR","value":":9191"/);
  assert.match(text, /"containerPort":9191/);
  assert.equal(text.match(/"path":"\/metrics","port":9191/g)?.length, 3);
  assert.doesNotMatch(text, /9091/);
  for (const port of ["0", "65536", "9092", ":9191", "1e3"]) {
    const refused = parseSettings({ "bpfleet.metrics-port": port }, builtImages);
    assert.ok(!refused.ok && refused.issues[0]?.path === "/data/bpfleet.metrics-port", port);
  }
});

test("daemonSet serves metrics on all addresses of the node, or on the one that is chosen, and is asked there", () => {
  const textOf = (address: string): string =>
    JSON.stringify(podOf(daemonSet(setup({ "bpfleet.metrics-address": address }))).spec.containers[0]);
  const { spec } = podOf(daemonSet(setup()));
  assert.doesNotMatch(JSON.stringify(spec.containers[0]), /"host"/);
  assert.match(textOf("127.0.0.1"), /"BPFLEET_METRICS_ADDR","value":"127\.0\.0\.1:9091"/);
  assert.equal(textOf("127.0.0.1").match(/"scheme":"HTTP","host":"127\.0\.0\.1"/g)?.length, 3);
  assert.match(textOf("::1"), /"BPFLEET_METRICS_ADDR","value":"\[::1\]:9091"/);
  assert.match(textOf("::1"), /"host":"::1"/);
  for (const address of ["localhost", "127.0.0.1:9091", "[::1]", "10.0.0"])
    assert.ok(!parseSettings({ "bpfleet.metrics-address": address }, builtImages).ok, address);
});

interface Placed {
  readonly nodeSelector: object;
  readonly tolerations: readonly object[];
  readonly containers: readonly { readonly resources: object }[];
}

function placeOf(set: Manifest): Placed {
  return podOf(set).spec as unknown as Placed;
}

test("daemonSet runs where the settings say, with the resources that they say; cleaning goes everywhere", () => {
  const usual = placeOf(daemonSet(setup()));
  assert.deepEqual(usual.nodeSelector, { "kubernetes.io/os": "linux" });
  assert.deepEqual(usual.tolerations, [{ operator: "Exists" }]);
  assert.deepEqual(
    usual.containers.map(({ resources }) => resources),
    [
      { requests: { cpu: "50m", memory: "96Mi" } },
      { requests: { cpu: "50m", memory: "96Mi" }, limits: { memory: "256Mi" } },
      { requests: { cpu: "1m", memory: "4Mi" } },
    ],
  );
  const chosen = setup({
    "bpfleet.tolerations": "- {key: dedicated, operator: Exists, effect: NoSchedule}\n- {key: a, value: b}\n",
    "bpfleet.node-selector": '{"pool": "edge"}',
    "bpfleet.daemon-resources": "requests: {cpu: 1, memory: 1Gi}\nlimits: {cpu: 1500m, memory: 2Gi}\n",
    "bpfleet.agent-resources": "limits: {memory: 512Mi}\n",
  });
  const placed = placeOf(daemonSet(chosen));
  assert.deepEqual(placed.nodeSelector, { "kubernetes.io/os": "linux", pool: "edge" });
  assert.deepEqual(placed.tolerations, [
    { key: "dedicated", operator: "Exists", effect: "NoSchedule" },
    { key: "a", value: "b" },
  ]);
  assert.deepEqual(
    placed.containers.map(({ resources }) => resources),
    [
      { requests: { cpu: "1", memory: "1Gi" }, limits: { cpu: "1500m", memory: "2Gi" } },
      { limits: { memory: "512Mi" } },
      { requests: { cpu: "1m", memory: "4Mi" } },
    ],
  );
  assert.deepEqual(placeOf(daemonSet(setup({ "bpfleet.tolerations": "[]" }))).tolerations, []);
  assert.deepEqual(placeOf(daemonSet(setup({ "bpfleet.agent-resources": "{}" }))).containers[1]?.resources, {});
  const cleaning = placeOf(cleanupDaemonSet(chosen.settings));
  assert.deepEqual(cleaning.nodeSelector, { "kubernetes.io/os": "linux" });
  assert.deepEqual(cleaning.tolerations, [{ operator: "Exists" }]);
});

for (const [key, text, message] of [
  ["bpfleet.tolerations", "{key: a}", /must be a list of tolerations/],
  ["bpfleet.tolerations", "- {key: a, operator: In}", /\[0\] operator must be one of Exists, Equal/],
  ["bpfleet.tolerations", "- {value: a}", /\[0\] without a key its operator must be Exists/],
  ["bpfleet.tolerations", "- {key: a, operator: Exists, value: b}", /which operator Exists has not/],
  ["bpfleet.tolerations", "- {operator: Exists, effect: Never}", /effect must be one of NoSchedule/],
  ["bpfleet.tolerations", "- {operator: Exists, seconds: 5}", /has seconds, which a toleration has not/],
  ["bpfleet.tolerations", "- {operator: Exists, tolerationSeconds: 5}", /goes with effect NoExecute only/],
  ["bpfleet.tolerations", "- {key: [}", /cannot be read/],
  ["bpfleet.node-selector", "[pool]", /must be labels and their values/],
  ["bpfleet.node-selector", "{spot: true}", /spot must be the text of a label, is true; put it in quotes/],
  ["bpfleet.node-selector", "{a b: c}", /"a b" is no label/],
  ["bpfleet.node-selector", "{kubernetes.io/os: windows}", /kubernetes\.io\/os must be linux/],
  ["bpfleet.daemon-resources", "cpu: 1", /cpu is neither requests nor limits/],
  ["bpfleet.daemon-resources", "requests: {memory: 64 MB}", /requests\.memory must be an amount as 100m or 64Mi/],
  ["bpfleet.daemon-resources", "requests: {ram: 1}", /"ram" is no resource/],
  ["bpfleet.agent-resources", "{requests: {memory: 1Gi}, limits: {memory: 1000Mi}}", /more than its limit of 1000Mi/],
  ["bpfleet.image-policy", "{kind: [}", /cannot be read/],
  ["bpfleet.image-policy", "default: {mode: required}", /must begin with apiVersion/],
  [
    "bpfleet.image-policy",
    "{apiVersion: bpfleet.io/v1alpha1, kind: ImagePolicy, rulez: []}",
    /rulez is no field of an ImagePolicy/,
  ],
  [
    "bpfleet.image-policy",
    "{apiVersion: bpfleet.io/v1alpha1, kind: ImagePolicy, default: {mode: required}}",
    /line 1: default\.accept: is required with mode required/,
  ],
  [
    "bpfleet.image-policy",
    "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\nrules:\n- images: [quay.io/**]\n  mode: requird\n",
    /line 5: rules\[0\]\.mode: must be one of required, warn, off/,
  ],
  [
    "bpfleet.image-policy",
    "apiVersion: bpfleet.io/v1alpha1\nkind: ImagePolicy\ndefault:\n  mode: warn\n  accept: {keys: [{name: ours, pem: none}]}\n",
    /line 5: default\.accept\.keys\[0\]\.pem: must be a public key in PEM/,
  ],
] as const)
  test(`parseSettings refuses ${key} ${text}`, () => {
    const refused = parseSettings({ [key]: text }, builtImages);
    assert.ok(!refused.ok);
    assert.deepEqual(
      refused.issues.map(({ path }) => path),
      [`/data/${key}`],
    );
    assert.match(refused.issues[0]?.message ?? "", message);
  });

test("nodeObjects hand the policy of signatures to the daemon, where there is one", () => {
  const policy =
    "{apiVersion: bpfleet.io/v1alpha1, kind: ImagePolicy, trustedRoot: /run/bpfd/root.json, default: {mode: warn, accept: {keys: [{name: a, file: /run/bpfd/a.pub}]}}}\n";
  const text = (data: Readonly<Record<string, string>>): string => JSON.stringify(nodeObjects(setup(data)));
  assert.doesNotMatch(text({}), /image-policy/);
  const handed = text({ "bpfleet.image-policy": policy });
  assert.ok(handed.includes(`"image-policy.yaml":${JSON.stringify(policy)}`));
  assert.match(handed, /"name":"BPFLEET_IMAGE_POLICY","value":"\/etc\/bpfd\/image-policy\.yaml"/);
});

test("agentAccess writes no status of what people declare, and reads no Secret of the cluster", () => {
  for (const { resources, verbs, apiGroups } of agentAccess(kinds)) {
    if (resources.includes("bpfprogramconfigs")) assert.deepEqual(verbs, ["get", "list", "watch"]);
    assert.ok(!resources.includes("secrets"));
    if (apiGroups.includes("networking.fos1.io"))
      assert.ok(verbs.every((verb) => ["get", "list", "watch"].includes(verb)));
  }
});

test("userRoles name resources that exist, in both spellings of each role", () => {
  const known = new Set(kinds.map(({ plural }) => plural));
  const roles = userRoles(kinds);
  for (const { rules } of roles as unknown as readonly { readonly rules: readonly AccessRule[] }[])
    for (const resource of rules.flatMap(({ resources }) => resources))
      assert.ok(known.has(resource.replace("/status", "")) || resource === "addressslices", resource);
  const names = roles.map(({ metadata }) => metadata.name);
  for (const name of ["bpfprogramconfig-editor", "bpfprogramconfig-viewer", "bpfprogram-editor", "bpfprogram-viewer"])
    assert.ok(names.includes(`bpfd-${name}`) && names.includes(`bpfd-${name}-role`));
});

test("baseManifests has each object once, and nothing undefined in it", () => {
  const objects = Object.values(baseManifests(kinds, builtImages)).flat();
  const ids = objects.map(({ kind, metadata }) => `${kind} ${metadata.namespace ?? ""}/${metadata.name}`);
  assert.equal(new Set(ids).size, ids.length);
  for (const object of [...objects, ...nodeObjects(setup())])
    assert.deepEqual(JSON.parse(JSON.stringify(object)), object);
});
