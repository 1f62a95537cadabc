import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { isApiError, type AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import type { AccessRule } from "@bpfleet/operator/desired";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster } from "./fleet-cluster.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let served: ReadonlyMap<string, Served>;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  // It brings the kinds of others that the rules name.
  await using _running = await cluster.startOperator();
  served = await until("all kinds are served", async () => {
    const found = await servedResources(cluster.admin).catch(unlessIsComing);
    return kinds.every(({ group, plural }) => found?.has(`${group}/${plural}`)) ? found : undefined;
  });
});

after(() => cluster?.[Symbol.asyncDispose]());

const requests = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"] as const;
/** What the API server asks for beside the verb of the request. */
const beside: Readonly<Record<string, readonly string[]>> = {
  "/serviceaccounts": ["impersonate"],
  "certificates.k8s.io/certificatesigningrequests": ["approve", "sign"],
  "rbac.authorization.k8s.io/clusterroles": ["bind", "escalate"],
  "rbac.authorization.k8s.io/roles": ["bind", "escalate"],
};

function verbsOf(group: string, resource: string): readonly string[] {
  return [...requests, ...(beside[`${group}/${resource}`] ?? [])];
}

/** One resource or subresource: `apps/daemonsets`, `/pods/exec`. */
interface Served {
  readonly group: string;
  readonly resource: string;
  readonly isNamespaced: boolean;
}

/** A rule and where it holds: in the whole cluster, or in one namespace. */
interface PlacedRule extends AccessRule {
  readonly role: string;
  readonly namespace?: string | undefined;
}

interface Action {
  readonly verb: string;
  readonly group: string;
  /** With its subresource. */
  readonly resource: string;
  readonly namespace: string;
  readonly name: string;
}

const elsewhere = "elsewhere";
const stranger = "stranger";

/** A group is told of a moment before it is there. */
function unlessIsComing(error: unknown): undefined {
  if (!isApiError(error) || !error.isNotFound) throw error;
}

async function servedResources(client: KubeClient): Promise<ReadonlyMap<string, Served>> {
  interface Groups {
    readonly groups: readonly { readonly versions: readonly { readonly groupVersion: string }[] }[];
  }
  interface Resources {
    readonly resources: readonly { readonly name: string; readonly namespaced: boolean }[];
  }
  const { groups } = (await client.request({ method: "GET", path: "/apis" })) as Groups;
  const paths = groups.flatMap(({ versions }) => versions.map(({ groupVersion }) => `/apis/${groupVersion}`));
  const all = new Map<string, Served>();
  for (const path of ["/api/v1", ...paths]) {
    const group = path === "/api/v1" ? "" : (path.split("/")[2] ?? "");
    const { resources } = (await client.request({ method: "GET", path })) as Resources;
    for (const { name, namespaced } of resources)
      all.set(`${group}/${name}`, { group, resource: name, isNamespaced: namespaced });
  }
  return all;
}

/** All that is bound to an account by its name, with the names of the roles. */
async function rulesOf(account: string): Promise<readonly PlacedRule[]> {
  interface Binding extends AnyObject {
    readonly roleRef: { readonly kind: string; readonly name: string };
    readonly subjects?: readonly { readonly kind: string; readonly name: string; readonly namespace?: string }[];
  }
  const rbac = { group: "rbac.authorization.k8s.io", version: "v1" } as const;
  const bindings = [
    ...(await cluster.admin.list<Binding>({ ...rbac, plural: "clusterrolebindings" })).items,
    ...(await cluster.admin.list<Binding>({ ...rbac, plural: "rolebindings" })).items,
  ].filter(({ subjects = [] }) =>
    subjects.some(
      ({ kind, name, namespace }) => kind === "ServiceAccount" && name === account && namespace === "kube-system",
    ),
  );
  const placed: PlacedRule[] = [];
  for (const { metadata, roleRef } of bindings) {
    const { namespace } = metadata;
    const at = roleRef.kind === "Role" ? { ...rbac, plural: "roles", namespace } : { ...rbac, plural: "clusterroles" };
    const { rules } = (await cluster.admin.get<AnyObject>({ ...at, name: roleRef.name })) as unknown as {
      readonly rules: readonly AccessRule[];
    };
    const role = namespace === undefined ? roleRef.name : `${namespace}/${roleRef.name}`;
    placed.push(...rules.map((rule) => ({ ...rule, role, namespace })));
  }
  return placed;
}

/** What a rule allows, one by one. */
function inside({ apiGroups, resources, resourceNames, verbs, namespace }: PlacedRule): readonly Action[] {
  return apiGroups.flatMap((group) =>
    resources.flatMap((resource) => {
      const place = namespace ?? (isNamespaced(group, resource) ? elsewhere : "");
      return (resourceNames ?? ["", stranger]).flatMap((name) =>
        verbs.map((verb) => ({ verb, group, resource, namespace: place, name })),
      );
    }),
  );
}

/** What is just outside of it: another verb, another name, all names, another namespace, and each of its subresources. */
function outside(rule: PlacedRule, rules: readonly PlacedRule[]): readonly Action[] {
  const { resourceNames, namespace } = rule;
  const actions: Action[] = [];
  for (const { group, resource, namespace: place, name } of inside({ ...rule, verbs: ["get"] })) {
    const of = { group, resource };
    const granted = rules.filter((each) => isAlike(each, rule, group, resource)).flatMap(({ verbs }) => verbs);
    for (const verb of verbsOf(group, resource)) {
      if (!granted.includes(verb)) actions.push({ ...of, verb, namespace: place, name });
      if (resourceNames !== undefined)
        for (const other of ["", stranger, `${name}-other`])
          actions.push({ ...of, verb, namespace: place, name: other });
      if (namespace !== undefined)
        for (const other of ["", "default", elsewhere, namespace === "bpfd" ? "kube-system" : "bpfd"])
          actions.push({ ...of, verb, namespace: other, name });
    }
    for (const sub of served.values())
      if (sub.group === group && sub.resource.startsWith(`${resource}/`) && !isNamed(sub, rules))
        for (const verb of requests) actions.push({ ...of, resource: sub.resource, verb, namespace: place, name });
  }
  return actions;
}

/** Two rules about the same objects. */
function isAlike(a: PlacedRule, b: PlacedRule, group: string, resource: string): boolean {
  return (
    a.namespace === b.namespace &&
    String(a.resourceNames) === String(b.resourceNames) &&
    isNamed({ group, resource }, [a])
  );
}

function isNamed({ group, resource }: Pick<Served, "group" | "resource">, rules: readonly AccessRule[]): boolean {
  return rules.some(({ apiGroups, resources }) => apiGroups.includes(group) && resources.includes(resource));
}

/** Whatever the API server serves that no rule names, where the account is at home and elsewhere. */
function beyond(rules: readonly PlacedRule[]): readonly Action[] {
  return [...served.values()]
    .filter((each) => !isNamed(each, rules))
    .flatMap(({ group, resource, isNamespaced: isOfNamespace }) =>
      (isOfNamespace ? ["kube-system", elsewhere] : [""]).flatMap((namespace) =>
        verbsOf(group, resource).map((verb) => ({ verb, group, resource, namespace, name: "" })),
      ),
    );
}

function isNamespaced(group: string, resource: string): boolean {
  const found = served.get(`${group}/${resource}`) ?? served.get(`${group}/${resource.split("/")[0]}`);
  assert.ok(found !== undefined, `${group}/${resource} is served`);
  return found.isNamespaced;
}

/** Asked by the account itself. */
async function isAllowed(client: KubeClient, attributes: object): Promise<boolean> {
  const answer = (await client.request({
    method: "POST",
    path: "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
    body: { apiVersion: "authorization.k8s.io/v1", kind: "SelfSubjectAccessReview", spec: attributes },
  })) as { readonly status: { readonly allowed: boolean } };
  return answer.status.allowed;
}

/** Those of the actions that are allowed, each once. */
async function allowedOf(client: KubeClient, actions: readonly Action[]): Promise<ReadonlySet<string>> {
  const waiting = [...new Map(actions.map((action) => [told(action), action])).entries()];
  const allowed = new Set<string>();
  const ask = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
      const [text, { resource: path, ...rest }] = next;
      const [resource, subresource] = path.split("/");
      if (await isAllowed(client, { resourceAttributes: { ...rest, resource, subresource } })) allowed.add(text);
    }
  };
  await Promise.all(Array.from({ length: 8 }, ask));
  return allowed;
}

function told({ verb, group, resource, namespace, name }: Action): string {
  return `${group}/${resource}${name === "" ? "" : ` ${name}`}${namespace === "" ? "" : ` of ${namespace}`}: ${verb}`;
}

/** What rules let an account write, and whose Secrets it reads: `resource names of place: verbs`. */
function writesOf(rules: readonly PlacedRule[]): readonly string[] {
  const isRead = (verb: string): boolean => ["get", "list", "watch"].includes(verb);
  const lines = rules.flatMap(({ apiGroups, resources, resourceNames = [], verbs, namespace }) =>
    resources.flatMap((resource) => {
      const what = [`${apiGroups.join()}/${resource}`, ...resourceNames, ...(namespace ? [`of ${namespace}`] : [])];
      const told = verbs.filter((verb) => resource === "secrets" || !isRead(verb));
      return told.length === 0 ? [] : [`${what.join(" ")}: ${told.join(" ")}`];
    }),
  );
  return [...new Set(lines)].toSorted();
}

interface Expected {
  readonly roles: readonly string[];
  readonly writes: readonly string[];
  /** What is outside of one rule and allowed by another. */
  readonly exceptions: readonly RegExp[];
}

async function examine(
  account: string,
  client: KubeClient,
  { roles, writes, exceptions }: Expected,
  tell: (text: string) => void,
): Promise<void> {
  const rules = await rulesOf(account);
  assert.deepEqual([...new Set(rules.map(({ role }) => role))].toSorted(), roles);
  for (const { resources, verbs, apiGroups } of rules)
    assert.ok(![...resources, ...verbs, ...apiGroups].some((word) => word.includes("*")), "nothing is granted whole");
  assert.deepEqual(writesOf(rules), writes);
  const within = rules.flatMap(inside);
  const granted = await allowedOf(client, within);
  assert.deepEqual(
    within.map(told).filter((each) => !granted.has(each)),
    [],
  );
  const actions = [...rules.flatMap((rule) => outside(rule, rules)), ...beyond(rules)];
  tell(`${account}: ${granted.size} actions inside, ${new Set(actions.map(told)).size} outside`);
  const allowed = [...(await allowedOf(client, actions))].toSorted();
  const all = [...ofAnybody, ...exceptions];
  assert.deepEqual(
    allowed.filter((each) => !all.some((exception) => exception.test(each))),
    [],
  );
  assert.deepEqual(
    all.filter((exception) => !allowed.some((each) => exception.test(each))),
    [],
  );
  for (const path of ["/metrics", "/logs", "/debug/pprof", "/configz"])
    for (const verb of ["get", "post"])
      assert.equal(await isAllowed(client, { nonResourceAttributes: { path, verb } }), false, `${verb} ${path}`);
}

/** Anybody with an account may ask what he may. */
const ofAnybody = [/^auth(entication|orization)\.k8s\.io\/selfsubject\w*reviews: create$/];

const agentWrites = [
  "/events: create patch",
  "bpfd.io/bpfdebpfprograms/status: patch",
  "bpfd.io/bpfdebpfprograms: create delete patch",
  "bpfd.io/bpfprogramconfigs/finalizers: update",
  "bpfd.io/bpfprograms/status: patch",
  "bpfd.io/bpfprograms: create delete patch",
  "bpfd.io/ebpfprogramconfigs/finalizers: update",
  "bpfleet.io/nodestates/status: patch update",
  "bpfleet.io/nodestates: create patch",
  "events.k8s.io/events: create patch",
];

const operatorWrites = [
  "/configmaps bpfd-config bpfd-daemon-config bpfleet-index of kube-system: create delete patch update",
  "/configmaps bpfd-config of bpfd: patch",
  "/configmaps bpfd-daemon-config-trial of kube-system: create patch",
  "/secrets bpfleet-agent-tls bpfleet-ca bpfleet-daemon-tls bpfleet-webhook-tls of kube-system: create delete get list patch watch",
  "/serviceaccounts bpfd-daemon of kube-system: create patch",
  "/services bpfd-daemon bpfleet-webhook of kube-system: create delete patch update",
  "/services bpfd-daemon-trial bpfleet-webhook-trial of kube-system: create patch",
  "admissionregistration.k8s.io/validatingwebhookconfigurations bpfleet-webhook: create delete patch update",
  "apiextensions.k8s.io/customresourcedefinitions ciliumclusterwidenetworkpolicies.cilium.io ciliumnetworkpolicies.cilium.io felixconfigurations.crd.projectcalico.org: create patch",
  "apps/daemonsets bpfd-daemon of kube-system: create delete patch update",
  "apps/daemonsets bpfd-daemon-trial of kube-system: create patch",
  "bpfd.io/bpfprogramconfigs/status: patch",
  "bpfd.io/bpfprogramconfigs: patch",
  "bpfd.io/ebpfprogramconfigs/status: patch",
  "bpfd.io/ebpfprogramconfigs: patch",
  "bpfleet.io/addressslices: create delete patch",
  "bpfleet.io/nodestates: delete",
  "cilium.io/ciliumclusterwidenetworkpolicies/status: patch",
  "cilium.io/ciliumnetworkpolicies/status: patch",
  "coordination.k8s.io/leases of kube-system: create",
  "coordination.k8s.io/leases podconfigmap-controller-lock of kube-system: update",
  "crd.projectcalico.org/felixconfigurations/status: patch",
  "networking.fos1.io/ebpfcontainerpolicies/status: patch",
  "networking.fos1.io/ebpfmaps/status: patch",
  "networking.fos1.io/ebpfnatpolicies/status: patch",
  "networking.fos1.io/ebpfnetworkpolicies/status: patch",
  "networking.fos1.io/ebpfprograms/status: patch",
  "networking.fos1.io/ebpftrafficcontrols/status: patch",
  "podconfig.example.com/podconfigmapconfigs/status: patch",
  "rbac.authorization.k8s.io/clusterrolebindings bpfd-daemon-trial: create patch",
  "rbac.authorization.k8s.io/clusterrolebindings bpfd-daemon: create delete patch update",
  "rbac.authorization.k8s.io/clusterroles bpfd-daemon: create patch update",
];

test("the agent's account may do what its rules say, and no action just outside of any", { skip }, async (t) => {
  const expected = {
    roles: [
      "bpfd-daemon",
      "bpfd/bpfd-daemon-pull-secrets",
      "kube-system/bpfd-daemon-index",
      "kube-system/bpfd-daemon-pull-secrets",
    ],
    writes: ["/secrets of bpfd: get", "/secrets regcred of kube-system: get", ...agentWrites].toSorted(),
    // There it may get any, by its name.
    exceptions: [/^\/secrets regcred of bpfd: get$/],
  };
  await examine("bpfd-daemon", cluster.agentOn("n1"), expected, (text) => t.diagnostic(text));
});

test("the operator's account may do what its rules say, and no action just outside of any", { skip }, async (t) => {
  const expected = {
    roles: ["bpfd/podconfigmap-controller", "kube-system/podconfigmap-controller", "podconfigmap-controller"],
    writes: [...agentWrites, ...operatorWrites].toSorted(),
    exceptions: [
      // What it keeps in its own namespace, and reads in that of bpfd.
      /^\/configmaps bpfd-config of (bpfd: (get|list|patch|watch)|kube-system: \w+)$/,
      // Agents read the Services of all namespaces, and the operator has what they have.
      /^\/services .*: (get|list|watch)$/,
      // Nobody has the name of a Lease before it is created.
      /^coordination\.k8s\.io\/leases .*of kube-system: create$/,
    ],
  };
  await examine("podconfigmap-controller", cluster.clientOf("podconfigmap-controller"), expected, (text) =>
    t.diagnostic(text),
  );
});

const [configs, programs] = [
  ["bpfd.io/bpfprogramconfigs", "bpfd.io/ebpfprogramconfigs"],
  ["bpfd.io/bpfdebpfprograms", "bpfd.io/bpfprograms"],
];
const declared = [
  ...configs,
  "cilium.io/ciliumclusterwidenetworkpolicies",
  "cilium.io/ciliumnetworkpolicies",
  "crd.projectcalico.org/felixconfigurations",
  "networking.fos1.io/ebpfcontainerpolicies",
  "networking.fos1.io/ebpfmaps",
  "networking.fos1.io/ebpfnatpolicies",
  "networking.fos1.io/ebpfnetworkpolicies",
  "networking.fos1.io/ebpfprograms",
  "networking.fos1.io/ebpftrafficcontrols",
  "podconfig.example.com/podconfigmapconfigs",
];

/** What each role for people lets them write; of bpfd's two spellings one. */
const userWrites: Readonly<Record<string, readonly string[]>> = {
  "bpfd-bpfprogramconfig-editor": configs,
  "bpfd-bpfprogramconfig-viewer": [],
  "bpfd-bpfprogram-editor": programs,
  "bpfd-bpfprogram-viewer": [],
  "bpfd-admin-role": [...configs, ...programs],
  "bpfleet-editor": declared,
  "bpfleet-viewer": [],
};

for (const [role, resources] of Object.entries(userWrites))
  test(`who has ${role} may do what its rules say, and no action just outside of any`, { skip }, async (t) => {
    const account = `holder-of-${role}`;
    const { kubectl } = cluster.server;
    kubectl(["-n", "kube-system", "create", "serviceaccount", account]);
    kubectl([
      "create",
      "clusterrolebinding",
      account,
      `--clusterrole=${role}`,
      `--serviceaccount=kube-system:${account}`,
    ]);
    const writes = resources.map((each) => `${each}: create delete patch update`).toSorted();
    await examine(account, cluster.clientOf(account), { roles: [role], writes, exceptions: [] }, (text) =>
      t.diagnostic(text),
    );
  });
