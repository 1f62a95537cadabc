import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { networkInterfaces } from "node:os";
import { connect } from "node:tls";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { podOf } from "./pods.ts";
import { startFleetCluster, until, within, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

/** API servers take no endpoint on loopback. */
const host = Object.values(networkInterfaces())
  .flatMap((addresses) => addresses ?? [])
  .find(({ family, internal }) => family === "IPv4" && !internal)?.address;
const skip = whyNoBuild() ?? (host === undefined ? "this machine has no address but loopback" : undefined);
const secretType = { group: "", version: "v1", plural: "secrets", namespace: "kube-system" } as const;
const configurations = {
  group: "admissionregistration.k8s.io",
  version: "v1",
  plural: "validatingwebhookconfigurations",
  name: "bpfleet-webhook",
} as const;
/** API servers learn of a new bundle in much less. */
const overlapMs = 10_000;
const boundMs = 30_000;

let cluster: FleetCluster;
const running: RunningOperator[] = [];

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster(["--enable-aggregator-routing=true"]);
  assert.equal(await create(), 201, "without the webhook it is admitted");
  for (const identity of ["operator-1", "operator-2"])
    running.push(
      await cluster.startOperator({
        identity,
        webhook: { host, port: 0 },
        certificates: { everyMs: 200, overlapMs },
      }),
    );
  for (const [index, { operator }] of running.entries()) {
    const port = await until("the replica serves", () => operator.webhookPort);
    await cluster.admin.create<AnyObject>(
      { group: "discovery.k8s.io", version: "v1", plural: "endpointslices", namespace: "kube-system" },
      {
        apiVersion: "discovery.k8s.io/v1",
        kind: "EndpointSlice",
        metadata: {
          name: `bpfleet-webhook-${index}`,
          namespace: "kube-system",
          labels: { "kubernetes.io/service-name": "bpfleet-webhook" },
        },
        addressType: "IPv4",
        endpoints: [{ addresses: [host], conditions: { ready: true } }],
        ports: [{ name: "webhook", port, protocol: "TCP" }],
      },
    );
  }
  await until("the webhook is asked", async () => (await create()) === 422 || undefined);
});

after(async () => {
  for (const each of running) await each[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

interface Secret extends AnyObject {
  readonly data?: Readonly<Record<string, string>>;
}

/** Passes the CRD, and is refused by the webhook. Nothing is kept of it. */
async function create(): Promise<number> {
  const entries = [
    { key: "10.0.0.0/8", value: 1 },
    { key: "10.0.0.0/8", value: 0 },
  ];
  const { status } = await cluster.server.call(
    "POST",
    "/apis/networking.fos1.io/v1alpha1/namespaces/default/ebpfmaps?dryRun=All",
    {
      apiVersion: "networking.fos1.io/v1alpha1",
      kind: "EBPFMap",
      metadata: { name: "x", namespace: "default" },
      spec: { type: "lpm_trie", maxEntries: 8, keySize: 8, valueSize: 4, initData: entries },
    },
  );
  return status;
}

async function kept(name: string, key: string): Promise<string> {
  const secret = await cluster.admin.find<Secret>({ ...secretType, name });
  return Buffer.from(secret?.data?.[key] ?? "", "base64").toString();
}

/** What the API server trusts of the webhook. */
async function trusted(): Promise<string> {
  const { webhooks } = await cluster.admin.get<Configuration>(configurations);
  return Buffer.from(webhooks[0]?.clientConfig.caBundle ?? "", "base64").toString();
}

interface Configuration extends AnyObject {
  readonly webhooks: readonly { readonly clientConfig: { readonly caBundle: string } }[];
}

/** Fingerprint of the certificate that a replica serves with now. */
async function served({ operator }: RunningOperator): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const socket = connect({ host, port: operator.webhookPort ?? 0, rejectUnauthorized: false }, () =>
    resolve(socket.getPeerCertificate().fingerprint256),
  );
  socket.on("error", reject);
  try {
    return await within("shake hands", boundMs, promise);
  } finally {
    socket.destroy();
  }
}

const fingerprint = (pem: string): string => new X509Certificate(pem).fingerprint256;

/** Asks all the while; an API server that cannot ask admits, since it is to ignore that. */
class Load implements AsyncDisposable {
  readonly #done = new AbortController();
  readonly #workers: Promise<readonly void[]>;
  #refused = 0;

  constructor() {
    this.#workers = Promise.all(
      Array.from({ length: 3 }, async () => {
        while (!this.#done.signal.aborted) {
          assert.equal(await create(), 422, `after ${this.#refused} refusals`);
          this.#refused++;
        }
      }),
    );
    this.#workers.catch(() => undefined);
  }

  /** Waits for so many further refusals, or throws what one of the workers did. */
  async refuses(count = 20): Promise<void> {
    const goal = this.#refused + count;
    await this.while(until(`${count} further refusals`, () => this.#refused >= goal || undefined));
  }

  async while<T>(work: Promise<T>): Promise<T> {
    const [done] = await Promise.race([work.then((value) => [value] as const), this.#workers.then(() => [] as never)]);
    return done;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#done.abort();
    await this.#workers;
  }
}

/** Until both replicas serve with what the Secret holds, and that is another one than before. */
function renewed(before: string): Promise<string> {
  return until(
    "both replicas serve with the new certificate",
    async () => {
      const pem = await kept("bpfleet-webhook-tls", "tls.crt");
      if (!pem.startsWith("-----BEGIN") || pem === before) return undefined;
      const seen = await Promise.all(running.map(served));
      return seen.every((each) => each === fingerprint(pem)) ? pem : undefined;
    },
    boundMs,
  );
}

/** What people are warned of who apply it; nothing is kept of it. */
async function warningsOf(object: object): Promise<readonly string[]> {
  const { kind, metadata } = object as { readonly kind: string; readonly metadata: { readonly namespace?: string } };
  const where = metadata.namespace === undefined ? "" : `/namespaces/${metadata.namespace}`;
  const path = `/apis/cilium.io/v2${where}/${kind.toLowerCase().replace(/y$/, "ies")}?dryRun=All`;
  const { status, body, warnings } = await cluster.server.call("POST", path, object);
  assert.equal(status, 201, JSON.stringify(body));
  return warnings;
}

async function made(path: string, object: object): Promise<void> {
  const { status, body } = await cluster.server.call("POST", path, object);
  assert.equal(status, 201, JSON.stringify(body));
}

function policyOf(kind: string, name: string, spec: object): object {
  const namespace = kind === "CiliumNetworkPolicy" ? { namespace: "shop" } : {};
  return { apiVersion: "cilium.io/v2", kind, metadata: { name, ...namespace }, spec };
}

test("the webhook names the pods and nodes of the cluster that a policy is about", { skip }, async () => {
  await made("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "shop" } });
  const pods = "/api/v1/namespaces/shop/pods";
  for (const number of [1, 2, 3, 4]) await made(pods, podOf(`web-${number}`, "shop", "edge-1"));
  const probe = podOf("probe-1", "shop", "edge-1") as { readonly spec: object };
  await made(pods, { ...probe, spec: { ...probe.spec, hostNetwork: true } });
  const web = await cluster.server.call("GET", `${pods}/web-1`);
  const status = { phase: "Running", podIP: "10.1.0.2", podIPs: [{ ip: "10.1.0.2" }] };
  assert.equal((await cluster.server.call("PUT", `${pods}/web-1/status`, { ...web.body, status })).status, 200);
  for (const name of ["edge-1", "edge-2", "edge-3", "edge-4"])
    await made("/api/v1/nodes", { apiVersion: "v1", kind: "Node", metadata: { name, labels: { role: "edge" } } });

  const selected = (app: string): object => ({ endpointSelector: { matchLabels: { app } } });
  const open = { ingress: [{ fromEntities: ["cluster"] }] };
  const cases: readonly (readonly [object: object, said: readonly string[]])[] = [
    [
      policyOf("CiliumNetworkPolicy", "own", { ...selected("web"), ingress: [{ fromEndpoints: [{}] }] }),
      [
        "spec.ingress[0].fromEndpoints[0]: means the pods of namespace shop alone, so nobody else reaches shop/web-1, shop/web-2, shop/web-3 and 1 more by it; fromEntities: [all] is everybody, k8s:io.kubernetes.pod.namespace: shop says that these are meant",
      ],
    ],
    [
      policyOf("CiliumNetworkPolicy", "names", {
        ...selected("web"),
        egress: [{ toEntities: ["world"], toPorts: [{ ports: [{ port: "443", protocol: "TCP" }] }] }],
      }),
      [
        "spec.egress: shop/web-1, shop/web-2, shop/web-3 and 1 more cannot ask for names: no rule allows UDP port 53, unless another policy does",
      ],
    ],
    [
      policyOf("CiliumNetworkPolicy", "host", { ...selected("probe"), ...open }),
      ["spec.endpointSelector: shop/probe-1 on the network of the node: no policy judges that"],
    ],
    [
      policyOf("CiliumNetworkPolicy", "cidr", { ...selected("web"), ingress: [{ fromCIDR: ["10.1.0.0/16"] }] }),
      [
        "spec.ingress[0].fromCIDR[0]: 10.1.0.0/16 does not mean pod shop/web-1: CIDRs never mean nodes or pods; fromEndpoints does",
      ],
    ],
    [
      policyOf("CiliumNetworkPolicy", "none", { ...selected("nobody"), ...open }),
      ["spec.endpointSelector: selects no pod that is there now"],
    ],
    [
      policyOf("CiliumClusterwideNetworkPolicy", "nodes", {
        nodeSelector: { matchLabels: { role: "edge" } },
        ingress: [{ fromEndpoints: [] }],
      }),
      [
        "spec.ingress: denies whatever else comes to the selected nodes themselves; only the fail-safe ports stay open, and no rule lets in SSH (22), the API server (6443), the kubelet (10250) (nodes edge-1, edge-2, edge-3 and 1 more)",
        "spec.ingress[0].fromEndpoints: is an empty list, so the whole rule allows nobody, as with Cilium; leave the field out to mean anybody (nodes edge-1, edge-2, edge-3 and 1 more)",
      ],
    ],
    [policyOf("CiliumNetworkPolicy", "fine", { ...selected("web"), ...open }), []],
  ];
  for (const [object, said] of cases) {
    const { kind, metadata } = object as { readonly kind: string; readonly metadata: { readonly name: string } };
    const name = kind === "CiliumNetworkPolicy" ? `shop/${metadata.name}` : metadata.name;
    const expected = said.map((text) => `${kind} ${name}: ${text}`);
    let told: readonly string[] = [];
    // What each replica knows of pods and nodes comes a moment later.
    const isSaid = async (): Promise<true | undefined> => {
      for (let time = 0; time < 4; time++) {
        told = await warningsOf(object);
        if (told.toSorted().join("\n") !== expected.toSorted().join("\n")) return undefined;
      }
      return true;
    };
    await until(`${name} is warned of`, isSaid, boundMs).catch(() =>
      assert.deepEqual(told.toSorted(), expected.toSorted()),
    );
  }
});

test(
  "the webhook's Secret is deleted or damaged: each replica serves with the next one, and no object slips through",
  { skip },
  async () => {
    await using load = new Load();
    await load.refuses();
    const first = await kept("bpfleet-webhook-tls", "tls.crt");
    const bundle = await trusted();
    assert.equal(bundle, await kept("bpfleet-webhook-tls", "ca.crt"));
    await cluster.admin.delete({ ...secretType, name: "bpfleet-webhook-tls" });
    const second = await load.while(renewed(first));
    await load.refuses();
    const data = { "tls.crt": Buffer.from("damaged").toString("base64") };
    await cluster.admin.patch({ ...secretType, name: "bpfleet-webhook-tls" }, { data }, { type: "merge" });
    const third = await load.while(renewed(second));
    await load.refuses();
    assert.equal(new Set([first, second, third]).size, 3);
    assert.equal(await trusted(), bundle, "the authority is the same");
  },
);

/** Both are trusted before the next one signs, and no object slips through. */
async function replaceAuthority(): Promise<void> {
  await using load = new Load();
  await load.refuses();
  const before = await kept("bpfleet-webhook-tls", "tls.crt");
  const lost = await kept("bpfleet-ca", "tls.crt");
  await cluster.admin.delete({ ...secretType, name: "bpfleet-ca" });
  const both = await load.while(
    until("the API server is to trust another one too", async () => {
      const bundle = await trusted();
      return bundle.includes(lost) && bundle.length > lost.length ? bundle : undefined;
    }),
  );
  const after = await load.while(renewed(before));
  const issuer = new X509Certificate(both.replace(lost, ""));
  assert.ok(new X509Certificate(after).verify(issuer.publicKey), "the next one signs");
  await load.refuses();
  await load.while(
    until("the lost one is trusted no more", async () => {
      const bundle = await trusted();
      return !bundle.includes(lost) || undefined;
    }),
  );
  await load.refuses();
}

test(
  "the authority's Secret is deleted: both are trusted before the next one signs, and no object slips through",
  { skip },
  replaceAuthority,
);

test("the same while ConfigMap bpfd-config is wrong, and while there is none", { skip }, async () => {
  const place = { group: "", version: "v1", plural: "configmaps", namespace: "kube-system", name: "bpfd-config" };
  const { apiVersion, kind, metadata, ...rest } = await cluster.admin.get<AnyObject>(place);
  const { namespace, name, labels } = metadata;
  await cluster.admin.patch(place, { data: { "bpfd.log.level": "loud" } }, { type: "merge" });
  await replaceAuthority();
  await cluster.admin.delete(place);
  await replaceAuthority();
  await cluster.admin.create<AnyObject>(place, { apiVersion, kind, metadata: { namespace, name, labels }, ...rest });
});

test("all Secrets are deleted at once: the webhook is trusted again in a bounded time", { skip }, async () => {
  const before = await kept("bpfleet-webhook-tls", "tls.crt");
  const names = ["ca", "daemon-tls", "agent-tls", "webhook-tls"].map((name) => `bpfleet-${name}`);
  await Promise.all(names.map((name) => cluster.admin.delete({ ...secretType, name })));
  await renewed(before);
  await until(
    "the new authority is trusted",
    async () => (await trusted()) === (await kept("bpfleet-ca", "ca.crt")) || undefined,
    boundMs,
  );
  await until("objects are refused", async () => (await create()) === 422 || undefined, boundMs);
  await using load = new Load();
  await load.refuses();
});
