import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { apiVersionOf, findKind, kinds, type DefinedKind, type LintView, type NodeStateResult } from "@bpfleet/kinds";
import {
  issueCertificate,
  judgedKinds,
  makeAuthority,
  reviewAdmission,
  serveWebhook,
  webhookConfiguration,
  webhookPath,
  type Authority,
  type KeyPair,
  type WebhookServer,
} from "@bpfleet/operator";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";
import type { Answer, ApiServer } from "./api-server.ts";
import { ClusterNode, install } from "./cluster-node.ts";
import { installCrds } from "./install-crds.ts";

const skip = whyNoBuild();
const lifetime = { at: Date.now(), days: 5 };
const policies = findKind("cilium.io/v2", "CiliumNetworkPolicy") ?? assert.fail();
const programs = findKind("networking.fos1.io/v1alpha1", "EBPFProgram") ?? assert.fail();
const maps = findKind("networking.fos1.io/v1alpha1", "EBPFMap") ?? assert.fail();
const madePrograms = findKind("bpfd.io/v1alpha1", "BpfProgram") ?? assert.fail();
const view: LintView = {
  findPods: (isMeant) => [{ name: "web-1", namespace: "default", labels: { app: "web" } }].filter(isMeant),
  findNodes: () => undefined,
  ownAddresses: [{ address: "172.16.0.1", owner: "node worker-1" }],
};

let server: ApiServer;
let webhook: WebhookServer;
let authority: Authority;
/** Reviews that were asked for, as `UPDATE ebpfprograms/status`. */
const asked: string[] = [];
const faults: unknown[] = [];

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  await installCrds(server, [policies, programs, maps, madePrograms]);
  authority = await makeAuthority("first", lifetime);
  webhook = await serve(await issue(authority));
  await configure(authority.certificate);
  await until("the webhook is asked", async () => (await create(policies, broken)).status === 422);
});

after(async () => {
  await webhook?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

function issue(by: Authority): Promise<KeyPair> {
  return issueCertificate(by, { commonName: "webhook", ipAddresses: ["127.0.0.1"], usages: ["server"] }, lifetime);
}

function serve(certificate: KeyPair, port = 0): Promise<WebhookServer> {
  return serveWebhook({
    host: "127.0.0.1",
    port,
    certificate,
    answer: (review) => {
      const { request } = review as {
        request: { operation: string; resource: { resource: string }; subResource?: string };
      };
      const path = [request.resource.resource, request.subResource].filter((part) => part !== undefined && part !== "");
      asked.push(`${request.operation} ${path.join("/")}`);
      return reviewAdmission(review, { kinds, view, ownUsers: [] });
    },
    onFault: (error) => faults.push(error),
  });
}

/** Tells the API server where the webhook is, and whom it is to trust. */
async function configure(bundle: string): Promise<void> {
  const configuration = webhookConfiguration(judgedKinds(kinds), bundle, {
    url: `https://127.0.0.1:${webhook.port}${webhookPath}`,
  });
  const { status, stderr } = await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], configuration);
  assert.equal(status, 0, stderr);
}

/** Passes the CRD: what is wrong with it is what Cilium's own agent would find. */
const broken = {
  endpointSelector: {},
  ingress: [
    { fromCIDR: ["10.0.0.0/33"] },
    { toPorts: [{ ports: [{ port: "80", endPort: 79, protocol: "TCP" }] }] },
    { fromEndpoints: [{}], icmps: [{ fields: [{ type: "Nothing" }] }] },
  ],
};
const sound = { endpointSelector: { matchLabels: { app: "web" } }, ingress: [{ fromEntities: ["cluster"] }] };

function pathOf(kind: DefinedKind, rest = ""): string {
  const where = kind.scope === "Cluster" ? "" : "namespaces/default/";
  return `/apis/${apiVersionOf(kind)}/${where}${kind.plural}${rest}`;
}

function objectOf(kind: DefinedKind, name: string, spec: unknown): object {
  const metadata = { name, ...(kind.scope === "Cluster" ? {} : { namespace: "default" }) };
  return { apiVersion: apiVersionOf(kind), kind: kind.kind, metadata, spec };
}

/** Nothing is kept of it. */
function create(kind: DefinedKind, spec: unknown): Promise<Answer> {
  return server.call("POST", pathOf(kind, "?dryRun=All"), objectOf(kind, "x", spec));
}

interface Told {
  readonly status: number;
  readonly stderr: string;
}

/** Not `server.kubectl`: the webhook runs in this process, and must go on while kubectl does. */
async function kubectl(args: readonly string[], input: unknown = ""): Promise<Told> {
  const env = { PATH: process.env["PATH"], HOME: "/nonexistent", KUBECONFIG: server.kubeconfig };
  const child = spawn(join(buildControlPlane(), "kubectl"), args, { env, stdio: ["pipe", "ignore", "pipe"] });
  let stderr = "";
  child.stderr.setEncoding("utf8").on("data", (part: string) => (stderr += part));
  child.stdin.end(JSON.stringify(input));
  const [status] = (await once(child, "close")) as [number];
  return { status, stderr };
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  for (const end = performance.now() + 30_000; !(await isSo()); await new Promise((resolve) => setTimeout(resolve, 50)))
    assert.ok(performance.now() < end, `${what}: not after 30 s`);
}

test("the webhook refuses an object with every mistake, and kubectl prints them all", { skip }, async () => {
  const fields = [
    "spec.ingress[0].fromCIDR[0]",
    "spec.ingress[1].toPorts[0].ports[0].endPort",
    "spec.ingress[2].icmps[0].fields[0].type",
  ];
  const { status, body } = await create(policies, broken);
  assert.equal(status, 422);
  const { causes } = body["details"] as { causes: readonly { field: string }[] };
  assert.deepEqual(
    causes.map(({ field }) => field),
    fields,
  );
  const told = await kubectl(["apply", "-f", "-"], objectOf(policies, "broken", broken));
  assert.equal(told.status, 1);
  for (const field of fields) assert.ok(told.stderr.includes(field), told.stderr);
  assert.match(told.stderr, /must be at least port, which is 80, is 79/);

  const entries = [
    { key: "10.0.0.0/8", value: 1 },
    { key: "example.org", value: 1 },
    { key: "10.0.0.0/8", value: 0 },
  ];
  const map = { type: "lpm_trie", maxEntries: 8, keySize: 8, valueSize: 4, initData: entries };
  assert.match(String((await create(maps, map)).body["message"]), /initData\[1\]\.key: .*initData\[2\]\.key: /);
});

test("the webhook's warnings reach people through kubectl", { skip }, async () => {
  const list = { type: "xdp", interface: "eth0", settings: { blacklist: { enabled: true, ips: ["172.16.0.0/12"] } } };
  const { status, stderr } = await kubectl(["apply", "-f", "-"], objectOf(programs, "list", list));
  assert.equal(status, 0);
  assert.equal(
    stderr,
    "Warning: EBPFProgram default/list: spec.settings.blacklist.ips[0]: 172.16.0.0/12 covers 172.16.0.1, node worker-1; it would be locked out\n",
  );
  const none = { ...sound, endpointSelector: { matchLabels: { app: "none" } }, options: { xdp: "true" } };
  assert.equal(
    (await kubectl(["apply", "-f", "-"], objectOf(policies, "none", none))).stderr,
    [
      "Warning: CiliumNetworkPolicy default/none: spec.endpointSelector: selects no pod that is there now",
      "Warning: CiliumNetworkPolicy default/none: spec.options: is not a field of Cilium's; where Cilium's CRD is installed, it is dropped\n",
    ].join("\n"),
  );
  assert.match(
    (await kubectl(["create", "-f", "-"], objectOf(madePrograms, "made", { programs: {} }))).stderr,
    /^Warning: BpfProgram made: is made from a BpfProgramConfig/,
  );
  assert.equal((await kubectl(["apply", "-f", "-"], objectOf(policies, "sound", sound))).stderr, "");
});

test("the webhook is not asked about status and deletion", { skip }, async () => {
  const kept = await server.call("GET", pathOf(programs, "/list"));
  asked.length = 0;
  const status = { state: "Failed", reason: "r" };
  const written = await server.call("PUT", pathOf(programs, "/list/status"), { ...kept.body, status });
  assert.equal(written.status, 200);
  assert.deepEqual(asked, []);
  assert.equal((await kubectl(["label", "ebpfprogram", "list", "a=b"])).status, 0);
  assert.equal((await server.call("DELETE", pathOf(programs, "/list"))).status, 200);
  assert.equal((await server.call("DELETE", pathOf(policies))).status, 200);
  assert.deepEqual(asked, ["UPDATE ebpfprograms"]);
});

test(
  "the webhook changes its certificate and its authority under load, and no object slips through",
  { skip },
  async () => {
    const next = await makeAuthority("second", lifetime);
    const done = new AbortController();
    let refused = 0;
    const load = Array.from({ length: 3 }, async () => {
      while (!done.signal.aborted) {
        const { status } = await create(policies, broken);
        // An API server that cannot ask admits, since it is to ignore that.
        assert.equal(status, 422, `after ${refused} refusals`);
        refused++;
      }
    });
    const passes = async (what: () => Promise<void>): Promise<void> => {
      await Promise.race([Promise.all(load).then(() => undefined), what()]);
    };
    const some = (count: number): Promise<void> => {
      const goal = refused + count;
      return until(`${count} further refusals`, () => Promise.resolve(refused >= goal));
    };
    await passes(() => some(20));
    webhook.useCertificate(await issue(authority));
    await passes(() => some(20));
    await configure(`${authority.certificate}${next.certificate}`);
    await passes(() => isTrusted(next));
    webhook.useCertificate(await issue(next));
    await passes(() => some(20));
    await configure(next.certificate);
    await passes(() => some(20));
    done.abort();
    await Promise.all(load);
    assert.deepEqual(faults, []);
    authority = next;
  },
);

/** Waits until the API server knows a configuration that came after all others: it learns of them in order. */
async function isTrusted(next: Authority): Promise<void> {
  await using probe = await serveWebhook({
    host: "127.0.0.1",
    port: 0,
    certificate: await issue(next),
    answer: (review) => {
      const { uid } = (review as { request: { uid: string } }).request;
      return { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", response: { uid, allowed: false } };
    },
    onFault: (error) => faults.push(error),
  });
  const url = `https://127.0.0.1:${probe.port}${webhookPath}`;
  const configmaps = { ...policies, group: "", version: "v1", plural: "configmaps" };
  const configuration = webhookConfiguration([configmaps], next.certificate, { url });
  const metadata = { name: "probe" };
  assert.equal((await kubectl(["apply", "--server-side", "-f", "-"], { ...configuration, metadata })).status, 0);
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" } };
  const path = "/api/v1/namespaces/default/configmaps?dryRun=All";
  await until("the probe is asked", async () => (await server.call("POST", path, object)).status >= 400);
  assert.equal((await kubectl(["delete", "validatingwebhookconfiguration", "probe"])).status, 0);
}

test(
  "the webhook's absence keeps nobody from declaring, and the agent's own look says what is wrong",
  { skip: skip ?? (process.getuid?.() === 0 ? undefined : "a daemon needs root") },
  async () => {
    const { port } = webhook;
    await webhook[Symbol.asyncDispose]();
    const accepted = await server.call("POST", pathOf(policies), objectOf(policies, "unseen", broken));
    assert.equal(accepted.status, 201, String(accepted.body["message"]));
    {
      install(server);
      await using node = await ClusterNode.make(server);
      await node.processes.stop("agent");
      node.startAgent({ BPFLEET_FOLLOW_CILIUM: "true" });
      let ready: NodeStateResult["conditions"][number] | undefined;
      await node.until("the agent tells of it", async () => {
        const result = await node.result(policies.kind, "unseen");
        ready = result?.conditions.find(({ type }) => type === "Ready");
        return ready !== undefined;
      });
      assert.deepEqual([ready?.status, ready?.reason], ["False", "Invalid"]);
      assert.match(
        ready?.message ?? "",
        /fromCIDR\[0\].*until it is corrected, all pods of namespace default are closed/,
      );
    }

    webhook = await serve(await issue(authority), port);
    await until("the webhook is asked again", async () => (await create(policies, broken)).status === 422);
    const label = await kubectl(["label", "cnp", "unseen", "team=shop"]);
    assert.equal(label.status, 0, label.stderr);
    assert.match(label.stderr, /^Warning: CiliumNetworkPolicy default\/unseen: spec\.ingress\[0\]\.fromCIDR\[0\]/);
    const patch = { spec: { description: "changed" } };
    const type = { "content-type": "application/merge-patch+json" };
    assert.equal((await server.call("PATCH", pathOf(policies, "/unseen"), patch, type)).status, 422);
    assert.equal((await server.call("DELETE", pathOf(policies, "/unseen"))).status, 200);
  },
);
