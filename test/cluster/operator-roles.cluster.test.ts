import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { nodeLabel, nameLabelValue } from "@bpfleet/kinds";
import { isApiError, resourcePath, type AnyObject, type ResourceAddress, type Subresource } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster } from "./fleet-cluster.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
});

after(() => cluster?.[Symbol.asyncDispose]());

type Verb = "get" | "list" | "create" | "patch" | "apply" | "delete";

/** One request, told by its verb; nothing is kept of what it writes. */
interface Action {
  readonly verb: Verb;
  readonly at: ResourceAddress;
  readonly sub?: Subresource;
  readonly object?: object;
}

const bpfd = (plural: string, name?: string): ResourceAddress => ({
  group: "bpfd.io",
  version: "v1alpha1",
  plural,
  name,
});
const fos1 = (plural: string, name?: string): ResourceAddress => ({
  group: "networking.fos1.io",
  version: "v1alpha1",
  plural,
  namespace: "default",
  name,
});
const fleet = (plural: string, name?: string): ResourceAddress => ({
  group: "bpfleet.io",
  version: "v1alpha1",
  plural,
  name,
});
const core = (plural: string, name?: string, namespace?: string): ResourceAddress => ({
  group: "",
  version: "v1",
  plural,
  name,
  namespace,
});
const apps = (plural: string, name?: string): ResourceAddress => ({
  group: "apps",
  version: "v1",
  plural,
  name,
  namespace: "kube-system",
});
const rbac = (plural: string, name?: string): ResourceAddress => ({
  group: "rbac.authorization.k8s.io",
  version: "v1",
  plural,
  name,
});

const policies = (name: string): ResourceAddress => ({
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingadmissionpolicies",
  name,
});

/** True when the request was let through, whatever became of it then. */
async function may(client: KubeClient, { verb, at, sub, object = {} }: Action): Promise<boolean> {
  const { name, ...collection } = at;
  const isWrite = verb !== "get" && verb !== "list";
  const apiVersion = at.group === "" ? at.version : `${at.group}/${at.version}`;
  const dry = isWrite ? "?dryRun=All" : "";
  const body = { apiVersion, kind: kinds[at.plural] ?? "Unknown", metadata: { name: name ?? "x" }, ...object };
  const requests = {
    get: { method: "GET", path: resourcePath(at, sub) },
    list: {
      method: "GET",
      path:
        resourcePath(name === undefined ? at : collection) +
        (name === undefined ? "" : `?fieldSelector=metadata.name%3D${name}`),
    },
    create: { method: "POST", path: `${resourcePath(collection)}${dry}`, body },
    patch: {
      method: "PATCH",
      path: `${resourcePath(at, sub)}${dry}`,
      body: {},
      contentType: "application/merge-patch+json",
    },
    apply: {
      method: "PATCH",
      path: `${resourcePath(at, sub)}${dry}&fieldManager=test&force=true`,
      body,
      contentType: "application/apply-patch+yaml",
    },
    delete: { method: "DELETE", path: `${resourcePath(at)}${dry}` },
  } as const;
  try {
    await client.request(requests[verb]);
    return true;
  } catch (error) {
    if (!isApiError(error)) throw error;
    return !error.isForbidden;
  }
}

const kinds: Readonly<Record<string, string>> = {
  daemonsets: "DaemonSet",
  configmaps: "ConfigMap",
  secrets: "Secret",
  serviceaccounts: "ServiceAccount",
  services: "Service",
  clusterroles: "ClusterRole",
  clusterrolebindings: "ClusterRoleBinding",
  nodestates: "NodeState",
  addressslices: "AddressSlice",
  bpfprogramconfigs: "BpfProgramConfig",
  ebpfprogramconfigs: "EbpfProgramConfig",
  bpfprograms: "BpfProgram",
  bpfdebpfprograms: "EbpfProgram",
  ebpfprograms: "EBPFProgram",
  pods: "Pod",
  nodes: "Node",
  deployments: "Deployment",
};

function act(verb: Verb, at: ResourceAddress, more: Partial<Action> = {}): Action {
  return { verb, at, ...more };
}

async function check(client: KubeClient, allowed: readonly Action[], refused: readonly Action[]): Promise<void> {
  const wrong: string[] = [];
  for (const [actions, wanted] of [
    [allowed, true],
    [refused, false],
  ] as const)
    for (const action of actions)
      if ((await may(client, action)) !== wanted)
        wrong.push(`${wanted ? "refused" : "allowed"}: ${action.verb} ${resourcePath(action.at, action.sub)}`);
  assert.deepEqual(wrong, []);
}

/** A client that has one cluster role, and nothing else. */
function holderOf(role: string): KubeClient {
  const { kubectl } = cluster.server;
  const account = `holder-of-${role}`;
  kubectl(["-n", "default", "create", "serviceaccount", account]);
  kubectl(["create", "clusterrolebinding", account, `--clusterrole=${role}`, `--serviceaccount=default:${account}`]);
  return cluster.clientOf(account, "default");
}

test("the agent's account does what the agent does, and not the action beside it", { skip }, async () => {
  const agent = cluster.agentOn("n1");
  await check(
    agent,
    [
      act("list", core("pods")),
      act("list", core("nodes")),
      act("list", core("namespaces")),
      act("list", fos1("ebpfprograms")),
      act("list", bpfd("bpfprogramconfigs")),
      act("list", bpfd("ebpfprogramconfigs")),
      act("apply", fleet("nodestates", "n1")),
      act("apply", fleet("nodestates", "n1"), { sub: "status" }),
      act("list", fleet("addressslices")),
      act("create", bpfd("bpfprograms", "x-n1")),
      act("patch", bpfd("bpfprograms", "x-n1"), { sub: "status" }),
      act("patch", bpfd("bpfdebpfprograms", "x-n1"), { sub: "status" }),
      act("delete", bpfd("bpfprograms", "x-n1")),
      act("get", core("secrets", "any", "bpfd")),
      act("get", core("secrets", "regcred", "kube-system")),
      act("list", core("configmaps", "bpfleet-index", "kube-system")),
    ],
    [
      act("patch", core("pods", "x", "default")),
      act("patch", core("nodes", "n1")),
      act("patch", fos1("ebpfprograms", "x")),
      act("patch", fos1("ebpfprograms", "x"), { sub: "status" }),
      act("patch", bpfd("bpfprogramconfigs", "x")),
      act("patch", bpfd("bpfprogramconfigs", "x"), { sub: "status" }),
      act("create", bpfd("ebpfprogramconfigs")),
      act("list", fleet("nodestates")),
      act("delete", fleet("nodestates", "n1")),
      act("apply", fleet("addressslices", "x")),
      act("list", core("secrets", undefined, "bpfd")),
      act("list", core("secrets")),
      act("get", core("secrets", "bpfleet-ca", "kube-system")),
      act("get", core("secrets", "any", "default")),
      act("list", core("configmaps", undefined, "kube-system")),
      act("apply", core("configmaps", "bpfleet-index", "kube-system")),
      act("get", core("configmaps", "bpfleet-index", "default")),
      act("get", apps("daemonsets", "bpfd-daemon")),
    ],
  );
});

test("the agent of a node writes what is of its node, and nothing that is of another", { skip }, async () => {
  const [first, second] = [cluster.agentOn("node-1"), cluster.agentOn("node-2")];
  const long = `${"n".repeat(50)}.${"example".repeat(3)}`;
  const [longer, stranger] = [cluster.agentOn(long), cluster.clientOf("bpfd-daemon")];
  const program = (name: string, node?: string): AnyObject => ({
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgram",
    metadata: { name, ...(node === undefined ? {} : { labels: { [nodeLabel]: nameLabelValue(node) } }) },
    spec: { programs: {} },
  });
  const at = bpfd("bpfprograms");
  const manager = { fieldManager: "bpfleet-agent", isForced: true } as const;
  const state = (name: string): AnyObject => ({
    apiVersion: "bpfleet.io/v1alpha1",
    kind: "NodeState",
    metadata: { name },
  });
  const own = /the agent of node node-2 writes of its own node only/;
  // An API server follows policies; it has this one a moment after it was applied.
  await until("the policy holds", async () =>
    (await may(second, act("apply", fleet("nodestates", "node-1")))) ? undefined : true,
  );

  await first.apply(fleet("nodestates"), state("node-1"), manager);
  await assert.rejects(second.apply(fleet("nodestates"), state("node-1"), manager), own);
  const status = { ...state("node-1"), status: { observedAt: "2026-01-01T00:00:00Z" } };
  const address = { ...fleet("nodestates"), name: "node-1" };
  await assert.rejects(second.applyStatus(address, status, manager), own);
  await first.applyStatus(address, status, manager);

  await first.apply(at, program("config-node-1", "node-1"), manager);
  await longer.apply(at, program("config-long", long), manager);
  const others = { ...at, name: "config-node-1" };
  for (const outside of [
    () => second.create(at, program("other-node-1", "node-1")),
    () => second.create(at, program("other-node-1")),
    () => second.apply(at, program("config-node-1", "node-1"), manager),
    () => second.apply(at, program("config-node-1", "node-2"), manager),
    () => second.patch(others, { metadata: { finalizers: null } }, { type: "merge" }),
    () => second.patch(others, { status: { conditions: [] } }, { type: "merge", subresource: "status" }),
    () => second.delete(others),
    () => second.delete({ ...at, name: "config-long" }),
  ])
    await assert.rejects(outside, own);
  // What is of its node cannot be given to another either.
  await assert.rejects(
    first.patch(others, { metadata: { labels: { [nodeLabel]: "node-2" } } }, { type: "merge" }),
    /the agent of node node-1 writes of its own node only/,
  );
  await first.patch(others, { status: { conditions: [] } }, { type: "merge", subresource: "status" });
  await first.delete(others);
  await longer.delete({ ...at, name: "config-long" });
  await assert.rejects(
    stranger.apply(fleet("nodestates"), state("node-1"), manager),
    /the agent's token is of no node: only one that is bound to a pod of the DaemonSet says which/,
  );
  // It is about agents only.
  await cluster.admin.delete(address);
});

test(
  "the operator's account does what the operator does, each by name, and gives nobody more than the agents have",
  { skip },
  async () => {
    const operator = cluster.clientOf("podconfigmap-controller");
    const role = (rules: readonly object[]): Partial<Action> => ({ object: { rules } });
    const secrets = { apiGroups: [""], resources: ["secrets"], verbs: ["get"] };
    const pods = { apiGroups: [""], resources: ["pods"], verbs: ["get"] };
    await check(
      operator,
      [
        act("apply", apps("daemonsets", "bpfd-daemon")),
        act("delete", apps("daemonsets", "bpfd-daemon")),
        act("list", apps("daemonsets", "bpfd-daemon")),
        act("list", { group: "apps", version: "v1", plural: "daemonsets", name: "cilium" }),
        act("apply", core("secrets", "bpfleet-ca", "kube-system")),
        act("list", core("secrets", "bpfleet-ca", "kube-system")),
        act("apply", core("services", "bpfd-daemon", "kube-system")),
        act("apply", core("serviceaccounts", "bpfd-daemon", "kube-system")),
        act("apply", apps("daemonsets", "bpfd-daemon-trial")),
        act("list", core("configmaps", "bpfd-config", "bpfd")),
        act("patch", fos1("ebpfprograms", "x"), { sub: "status" }),
        act("patch", bpfd("bpfprogramconfigs", "x")),
        act("patch", bpfd("ebpfprogramconfigs", "x"), { sub: "status" }),
        act("delete", fleet("nodestates", "n1")),
        act("apply", fleet("addressslices", "x")),
        act("apply", rbac("clusterroles", "bpfd-daemon"), role([pods])),
      ],
      [
        act("apply", apps("daemonsets", "other")),
        act("apply", core("serviceaccounts", "other", "kube-system")),
        act("create", core("serviceaccounts", "bpfd-daemon", "kube-system")),
        act("delete", core("serviceaccounts", "bpfd-daemon", "kube-system")),
        act("delete", apps("daemonsets", "bpfd-daemon-trial")),
        act("list", apps("daemonsets")),
        act("patch", apps("deployments", "podconfigmap-controller")),
        act("get", core("secrets", "other", "kube-system")),
        act("list", core("secrets", undefined, "kube-system")),
        act("get", core("secrets", "bpfleet-ca", "default")),
        act("patch", fos1("ebpfprograms", "x")),
        act("patch", core("pods", "x", "default")),
        act("patch", core("nodes", "n1")),
        act("create", bpfd("bpfprogramconfigs")),
        act("delete", bpfd("bpfprogramconfigs", "x")),
        act("apply", rbac("clusterroles", "other"), role([pods])),
        act("apply", rbac("clusterroles", "bpfd-daemon"), role([secrets])),
        act("apply", rbac("clusterroles", "podconfigmap-controller"), role([pods])),
        act("delete", policies("bpfleet-own-node")),
        act("patch", policies("bpfleet-own-node")),
        act("apply", rbac("clusterrolebindings", "bpfd-daemon"), {
          object: {
            roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "ClusterRole", name: "cluster-admin" },
            subjects: [{ kind: "ServiceAccount", name: "x", namespace: "default" }],
          },
        }),
      ],
    );
  },
);

for (const [name, own, other] of [
  ["bpfprogramconfig", ["bpfprogramconfigs", "ebpfprogramconfigs"], "bpfprograms"],
  ["bpfprogram", ["bpfprograms", "bpfdebpfprograms"], "bpfprogramconfigs"],
] as const) {
  for (const spelling of ["", "-role"])
    test(
      `bpfd-${name}-editor${spelling} edits and bpfd-${name}-viewer${spelling} views ${own.join(" and ")}, and nothing else`,
      { skip },
      async () => {
        const [editor, viewer] = [
          holderOf(`bpfd-${name}-editor${spelling}`),
          holderOf(`bpfd-${name}-viewer${spelling}`),
        ];
        const views = own.flatMap((plural) => [
          act("list", bpfd(plural)),
          act("get", bpfd(plural, "x")),
          act("get", bpfd(plural, "x"), { sub: "status" }),
        ]);
        const edits = own.flatMap((plural) => [
          act("create", bpfd(plural)),
          act("patch", bpfd(plural, "x")),
          act("delete", bpfd(plural, "x")),
        ]);
        const outside = [
          ...own.map((plural) => act("patch", bpfd(plural, "x"), { sub: "status" })),
          act("list", bpfd(other)),
          act("list", fos1("ebpfprograms")),
          act("list", core("pods")),
        ];
        await check(editor, [...views, ...edits], outside);
        await check(viewer, views, [...edits, ...outside]);
      },
    );
}

test(
  "bpfleet-editor and bpfleet-viewer do so with our kinds, and the cluster's own view role views them too",
  { skip },
  async () => {
    const [editor, viewer] = [holderOf("bpfleet-editor"), holderOf("bpfleet-viewer")];
    const views = [
      act("list", fos1("ebpfprograms")),
      act("list", bpfd("bpfprogramconfigs")),
      act("list", fleet("nodestates")),
    ];
    const edits = [act("create", fos1("ebpfprograms")), act("delete", bpfd("bpfprogramconfigs", "x"))];
    await check(
      editor,
      [...views, ...edits],
      [act("patch", fleet("nodestates", "x")), act("patch", fos1("ebpfprograms", "x"), { sub: "status" })],
    );
    await check(viewer, views, [...edits, act("list", core("secrets"))]);
    const { rules, metadata } = (await cluster.admin.get<never>({
      ...rbac("clusterroles"),
      name: "bpfleet-viewer",
    })) as unknown as { rules: unknown; metadata: { labels: Record<string, string> } };
    assert.ok(rules !== undefined);
    assert.equal(metadata.labels["rbac.authorization.k8s.io/aggregate-to-view"], "true");
  },
);

test("bpfd-admin-role edits all of bpfd's kinds", { skip }, async () => {
  const admin = holderOf("bpfd-admin-role");
  const plurals = ["bpfprogramconfigs", "ebpfprogramconfigs", "bpfprograms", "bpfdebpfprograms"];
  await check(
    admin,
    plurals.flatMap((plural) => [act("create", bpfd(plural)), act("delete", bpfd(plural, "x"))]),
    [act("list", fos1("ebpfprograms")), act("list", core("secrets"))],
  );
});
