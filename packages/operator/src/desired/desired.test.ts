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
import { builtImages } from "./operator-deployment.ts";
import { userRoles } from "./roles.ts";
import { parseSettings } from "./settings.ts";

interface Container {
  readonly name: string;
  readonly image: string;
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
    readonly volumes: readonly { readonly name: string }[];
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
    ["bpfd", "bpfd-agent"],
  );
  const [daemon, agent] = spec.containers;
  assert.ok(daemon !== undefined && agent !== undefined);
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
  assert.deepEqual([metadata.labels["app"], metadata.labels["name"]], ["fos1-ebpf-controller", "bpfd-daemon"]);
  assert.equal(metadata.annotations["kubectl.kubernetes.io/default-container"], "bpfd");
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
    assert.deepEqual(bidirectional, spec.initContainers);
    assert.ok(spec.initContainers.every(({ securityContext }) => securityContext.privileged === true));
  }
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
  ].map(hash);
  assert.equal(new Set([...others, usual]).size, others.length + 1);
  assert.equal(
    podOf(daemonSet(setup({ "bpfd.log.level": "debug" }))).metadata.annotations[annotations.logLevel],
    "debug",
  );
});

test("parseSettings says all that is wrong at once, and what it does not know", () => {
  const wrong = parseSettings(
    { "bpfd.log.level": "loud", "bpfd.image": "a b", "bpfleet.enforce.cilium": "yes" },
    builtImages,
  );
  assert.deepEqual(wrong.issues.map(({ path }) => path).toSorted(), [
    "/data/bpfd.image",
    "/data/bpfd.log.level",
    "/data/bpfleet.enforce.cilium",
  ]);
  const odd = parseSettings({ "bpfd.log.levl": "info" }, builtImages);
  assert.deepEqual(odd.ok && odd.issues.map(({ message }) => message), [
    "bpfd.log.levl: unknown key, without effect; did you mean bpfd.log.level?",
  ]);
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

test("nodeObjects hand the policy of signatures to the daemon, where there is one", () => {
  const policy = "default: {mode: required}\n";
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
