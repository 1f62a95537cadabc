import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { connect } from "node:net";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { after, before, test } from "node:test";
import { ApiError, addFinalizerPatch, events, removeFinalizerPatch, referenceTo, setConditions } from "@bpfleet/kube";
import type { AnyObject, ApiObject, KubeEvent } from "@bpfleet/kube";
import { connectKube, createEventRecorder, createInformer, fixedCredentials, loadAccess } from "@bpfleet/kube-client";
import type { ClusterAccess, KubeClient } from "@bpfleet/kube-client";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";

const skip = whyNoBuild();
const configMaps = { group: "", version: "v1", plural: "configmaps", namespace: "default" };
let server: ApiServer;
let access: ClusterAccess;
let client: KubeClient;

interface ConfigMap extends ApiObject {
  readonly data?: Readonly<Record<string, string>>;
}

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  access = loadAccess({ env: {}, kubeconfig: server.kubeconfig });
  client = connectKube(access);
});

after(async () => {
  await client?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

function configMap(name: string, data: Readonly<Record<string, string>> = {}): ConfigMap {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" }, data };
}

async function refusalOf(call: Promise<unknown>): Promise<ApiError> {
  const error = await call.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  assert.ok(error instanceof ApiError, String(error));
  return error;
}

test("KubeClient creates, reads, changes and deletes, and tells each refusal by its reason", { skip }, async () => {
  const made = await client.create(configMaps, configMap("life", { a: "1" }));
  assert.ok(made.metadata.uid !== undefined);
  assert.equal((await refusalOf(client.create(configMaps, configMap("life")))).reason, "AlreadyExists");
  const changed = await client.update(configMaps, { ...made, data: { a: "2" } });
  const outdated = await refusalOf(client.update(configMaps, { ...made, data: { a: "3" } }));
  assert.ok(outdated.isConflict && !outdated.isAlreadyExists);
  const name = { ...configMaps, name: "life" };
  await client.patch(name, { data: { b: "4" } }, { type: "merge" });
  await client.patch(name, [{ op: "remove", path: "/data/a" }], { type: "json" });
  assert.deepEqual((await client.get<ConfigMap>(name)).data, { b: "4" });
  await client.create(configMaps, configMap("dry"), { isDryRun: true });
  assert.equal(await client.find({ ...configMaps, name: "dry" }), undefined);
  const another = await refusalOf(client.delete(name, { preconditions: { uid: "another" } }));
  assert.equal(another.status, 409);
  assert.equal(await client.delete(name, { preconditions: { uid: changed.metadata.uid ?? "" } }), true);
  assert.equal(await client.delete(name), false);
  assert.ok((await refusalOf(client.get(name))).isNotFound);
});

test("KubeClient applies field by field, and a conflict names each field and who owns it", { skip }, async () => {
  await client.apply(configMaps, configMap("owned", { a: "1", b: "1" }), { fieldManager: "first" });
  await client.apply(configMaps, configMap("owned", { c: "1" }), { fieldManager: "second" });
  const conflict = await refusalOf(
    client.apply(configMaps, configMap("owned", { a: "2", b: "2" }), { fieldManager: "second" }),
  );
  assert.ok(conflict.isConflict);
  assert.deepEqual(
    conflict.causes.map(({ field, reason }) => [field, reason]),
    [
      [".data.a", "FieldManagerConflict"],
      [".data.b", "FieldManagerConflict"],
    ],
  );
  assert.match(conflict.causes[0]?.message ?? "", /"first"/);
  await client.apply(configMaps, configMap("owned", { a: "2" }), { fieldManager: "second", isForced: true });
  const owned = await client.get<ConfigMap>({ ...configMaps, name: "owned" });
  assert.deepEqual(owned.data, { a: "2", b: "1" });
  // By its uid what is gone is not made anew.
  await client.delete({ ...configMaps, name: "owned" });
  const metadata = { ...configMap("owned", {}).metadata, uid: owned.metadata.uid };
  const gone = await refusalOf(
    client.apply(configMaps, { ...configMap("owned", {}), metadata }, { fieldManager: "second" }),
  );
  assert.ok(gone.isConflict);
});

test("KubeClient writes the status apart from the rest", { skip }, async () => {
  const nodes = { group: "", version: "v1", plural: "nodes" };
  const node = { apiVersion: "v1", kind: "Node", metadata: { name: "one" } };
  await client.create<ApiObject>(nodes, node);
  const conditions = setConditions([], [{ type: "Ready", status: "True", reason: "Made", message: "ok" }], Date.now());
  const wanted = { ...node, spec: { unschedulable: true }, status: { conditions } };
  const written = await client.applyStatus<AnyObject>(nodes, wanted, { fieldManager: "me" });
  assert.deepEqual((written["status"] as { readonly conditions: unknown }).conditions, [
    { ...conditions[0], lastHeartbeatTime: null },
  ]);
  assert.equal((written["spec"] as { readonly unschedulable?: unknown }).unschedulable, undefined);
  const changed = { ...written, spec: { unschedulable: true }, status: { phase: "Running" } };
  const updated = await client.updateStatus<AnyObject>(nodes, changed);
  assert.equal((updated["status"] as { readonly phase?: unknown }).phase, "Running");
  assert.equal((updated["spec"] as { readonly unschedulable?: unknown }).unschedulable, undefined);
});

test("KubeClient sets and takes finalizers, and is refused when they changed meanwhile", { skip }, async () => {
  const made = await client.create(configMaps, configMap("held"));
  const name = { ...configMaps, name: "held" };
  const held = await client.patch(name, addFinalizerPatch(made, "bpfleet.io/test"), { type: "json" });
  await client.patch(name, addFinalizerPatch(held, "bpfleet.io/other"), { type: "json" });
  const outdated = await refusalOf(client.patch(name, removeFinalizerPatch(held, "bpfleet.io/test"), { type: "json" }));
  assert.equal(outdated.status, 422);
  await client.delete(name);
  for (const finalizer of ["bpfleet.io/test", "bpfleet.io/other"]) {
    const current = await client.get(name);
    assert.ok(current.metadata.deletionTimestamp !== undefined);
    await client.patch(name, removeFinalizerPatch(current, finalizer), { type: "json" });
  }
  assert.equal(await client.find(name), undefined);
});

test("KubeClient lists page by page, by labels and by fields, and streams what happens", { skip }, async () => {
  const names = Array.from({ length: 23 }, (_, index) => `page-${String(index).padStart(2, "0")}`);
  for (const name of names)
    await client.create(configMaps, { ...configMap(name), metadata: { name, labels: { set: "pages" } } });
  const labelSelector = "set=pages";
  const pages: number[] = [];
  const found: string[] = [];
  for await (const page of client.pages(configMaps, { labelSelector, limit: 10 })) {
    pages.push(page.length);
    found.push(...page.map(({ metadata }) => metadata.name));
  }
  assert.deepEqual(pages, [10, 10, 3]);
  assert.deepEqual(found, names);
  const one = await client.list(configMaps, { fieldSelector: "metadata.name=page-07" });
  assert.deepEqual(
    one.items.map(({ kind, metadata }) => [kind, metadata.name]),
    [["ConfigMap", "page-07"]],
  );
  const seen: string[] = [];
  const resourceVersion = one.resourceVersion;
  const watch = client.watch(configMaps, { labelSelector, resourceVersion, timeoutSeconds: 30 });
  await client.deleteCollection(configMaps, { labelSelector });
  for await (const { type, object } of watch) if (seen.push(`${type} ${object.metadata.name}`) === 23) break;
  assert.deepEqual(
    seen.toSorted(),
    names.map((name) => `DELETED ${name}`),
  );
});

test("KubeClient is told by the server what a role does not grant", { skip }, async () => {
  server.kubectl(["create", "serviceaccount", "reader"]);
  server.kubectl(["create", "role", "reader", "--verb=get,list", "--resource=configmaps"]);
  server.kubectl(["create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader"]);
  const authorization = `Bearer ${server.kubectl(["create", "token", "reader"]).trim()}`;
  await using reader = connectKube(await withoutCertificate(authorization));
  await until(async () => (await reader.list(configMaps).catch(() => undefined)) !== undefined);
  const refused = await refusalOf(reader.create(configMaps, configMap("no")));
  assert.equal(refused.code, "api-forbidden");
  assert.match(
    refused.message,
    /^create configmaps default\/no: .*cannot create resource "configmaps".* \(403\); grant it by/,
  );
  assert.ok((await refusalOf(reader.list({ ...configMaps, namespace: undefined }))).isForbidden);
  const nobody = connectKube(await withoutCertificate("Bearer wrong"));
  assert.equal((await refusalOf(nobody.get({ ...configMaps, name: "x" }))).code, "api-unauthorized");
  await nobody[Symbol.asyncDispose]();
});

test(
  "KubeClient goes on with a token that was renewed, and with one that the server refuses until it is",
  { skip },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "bpfleet-token-"));
    const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);
    try {
      server.kubectl(["create", "serviceaccount", "rotating"]);
      server.kubectl(["create", "role", "rotating", "--verb=list", "--resource=configmaps"]);
      server.kubectl(["create", "rolebinding", "rotating", "--role=rotating", "--serviceaccount=default:rotating"]);
      const { ca = "" } = await access.credentials.current();
      write("ca.crt", ca);
      write("namespace", "default");
      write("token", "expired-long-ago");
      const url = new URL(server.url);
      const env = { KUBERNETES_SERVICE_HOST: url.hostname, KUBERNETES_SERVICE_PORT: url.port };
      await using pod = connectKube(loadAccess({ env, podFolder: folder }));
      assert.equal((await refusalOf(pod.list(configMaps))).status, 401);
      write("token", server.kubectl(["create", "token", "rotating"]));
      // Read again at once because of the 401, long before it would be by itself.
      await until(async () => (await pod.list(configMaps).catch(() => undefined)) !== undefined);
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);

test(
  "KubeClient speaks HTTP/1.1 where HTTP/2 is switched off, and knows a server by another name",
  { skip },
  async () => {
    for (const allowsHttp2 of [true, false]) {
      await using one = connectKube({ ...access, allowsHttp2 });
      const many = await Promise.all(Array.from({ length: 40 }, () => one.list(configMaps)));
      assert.equal(many.length, 40);
    }
    await using named = connectKube({ ...access, tls: { ...access.tls, serverName: "elsewhere.example" } });
    const refused = await refusalOf(named.list(configMaps));
    assert.match(refused.message, /elsewhere\.example/);
    const { certificate } = await access.credentials.current();
    await using stranger = connectKube({ ...access, credentials: fixedCredentials({ certificate }) });
    assert.equal((await refusalOf(stranger.list(configMaps))).code, "api-unreachable");
    await using trusting = connectKube({
      ...access,
      credentials: fixedCredentials({ certificate }),
      tls: { isInsecure: true },
    });
    assert.ok((await trusting.list(configMaps)).resourceVersion !== "");
  },
);

test("KubeClient uses the certificate that an exec plug-in gives", { skip }, async () => {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-exec-"));
  try {
    const { certificate } = await access.credentials.current();
    const credential = {
      apiVersion: "client.authentication.k8s.io/v1",
      kind: "ExecCredential",
      status: { clientCertificateData: certificate?.cert, clientKeyData: certificate?.key },
    };
    const write = (name: string, text: string, mode = 0o600) => writeFileSync(join(folder, name), text, { mode });
    write("credential", JSON.stringify(credential));
    write("plugin", '#!/bin/sh\nexec cat "$(dirname "$0")/credential"\n', 0o700);
    const config = JSON.parse(readFileSync(server.kubeconfig, "utf8")) as { users: { user: object }[] };
    const exec = { apiVersion: credential.apiVersion, interactiveMode: "Never", command: "./plugin" };
    config.users = config.users.map((user) => ({ ...user, user: { exec } }));
    write("config", JSON.stringify(config));
    await using plugged = connectKube(
      loadAccess({ env: { PATH: process.env["PATH"] }, kubeconfig: join(folder, "config") }),
    );
    assert.ok((await plugged.list(configMaps)).resourceVersion !== "");
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("KubeClient calls and watches through a proxy, with its certificate, over either protocol", { skip }, async () => {
  let tunnels = 0;
  const ends = new Set<Duplex>();
  const proxy = createServer().on("connect", (request, near) => {
    tunnels += 1;
    const far = connect(Number(new URL(`http://${request.url}`).port), "127.0.0.1", () => {
      near.write("HTTP/1.1 200 OK\r\n\r\n");
      near.pipe(far).pipe(near);
    });
    for (const end of [near.on("error", () => far.destroy()), far.on("error", () => near.destroy())]) ends.add(end);
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
  for (const allowsHttp2 of [true, false]) {
    const name = `proxied-${allowsHttp2}`;
    await using one = connectKube({ ...access, proxyUrl, allowsHttp2 });
    await using informer = createInformer(one, { resource: { ...configMaps, name } }).start();
    await informer.synced(AbortSignal.timeout(60_000));
    await one.create(configMaps, configMap(name));
    await until(async () => informer.size === 1);
  }
  assert.ok(tunnels >= 4, `${tunnels} tunnels`);
  for (const end of ends) end.destroy();
  await new Promise((resolve) => proxy.close(resolve));
});

test("EventRecorder writes events that kubectl shows, and counts those that come again", { skip }, async () => {
  const object = await client.create(configMaps, configMap("told"));
  const faults: ApiError[] = [];
  await using recorder = createEventRecorder(client, {
    controller: "bpfleet.io/test",
    instance: "here",
    onFault: (error) => faults.push(error),
  });
  const happening = {
    regarding: referenceTo(object),
    type: "Warning",
    reason: "Refused",
    action: "Load",
    note: "no",
  } as const;
  for (let count = 0; count < 5; count++) recorder.record(happening);
  await recorder.flush();
  assert.deepEqual(faults, []);
  const { items } = await client.list<KubeEvent>({ ...events, namespace: "default" });
  const own = items.filter(({ reportingController }) => reportingController === "bpfleet.io/test");
  assert.deepEqual(
    own.map(({ note, series, type }) => [note, series?.count, type]),
    [["no", 5, "Warning"]],
  );
  assert.match(server.kubectl(["describe", "configmap", "told"]), /Warning +Refused .*bpfleet\.io\/test.* +no/);
});

async function withoutCertificate(authorization: string): Promise<ClusterAccess> {
  const { ca } = await access.credentials.current();
  return { ...access, credentials: fixedCredentials({ authorization, ca }) };
}

/** The API server learns of a new binding or token a moment later. */
async function until(isTrue: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + 60_000;
  while (!(await isTrue())) {
    assert.ok(performance.now() < end, "not within a minute");
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
