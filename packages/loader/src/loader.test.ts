import assert from "node:assert/strict";
import { once } from "node:events";
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect } from "node:net";
import { readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { status } from "@grpc/grpc-js";
import type { BytecodeSource } from "@bpfleet/kernel";
import { parseBpfdConfig } from "./bpfd-config.ts";
import type { Layout } from "./layout.ts";
import { bpfdProtos } from "./testing/bpfd-protos.ts";
import { Authority, type IssuedFiles } from "./testing/certificates.ts";
import { LoaderBench } from "./testing/loader-bench.ts";
import type { LoaderClient } from "./testing/loader-client.ts";
import { loadSamples } from "./testing/load-samples.ts";

let bench: LoaderBench;
let app: IssuedFiles;
let other: IssuedFiles;

const uuidForm = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const file: BytecodeSource = { from: "file", path: "/x.o" };
const image: BytecodeSource = { from: "image", reference: "localhost:5000/x:1", pullPolicy: "IfNotPresent" };
const plainLoad = {
  location: "file:///x.o",
  section_name: "pass",
  network_multi_attach: { priority: 5, iface: "eth0" },
};

before(async () => {
  bench = await LoaderBench.start();
  app = bench.authority.issue("app");
  other = bench.authority.issue("other");
  bench.offer(file, image);
});
after(() => bench[Symbol.asyncDispose]());

async function load(client: LoaderClient, layout: Layout, request: object): Promise<string> {
  const answer = await client.call("Load", bpfdProtos[layout].encode("LoadRequest", request));
  return String(bpfdProtos[layout].decode("LoadResponse", answer)["id"]);
}

async function unload(client: LoaderClient, id: string): Promise<void> {
  await client.call("Unload", bpfdProtos.p2.encode("UnloadRequest", { id }));
}

async function list(client: LoaderClient, layout: Layout): Promise<readonly Record<string, unknown>[]> {
  const answer = await client.call("List", bpfdProtos[layout].encode("ListRequest", {}));
  return (bpfdProtos[layout].decode("ListResponse", answer)["results"] ?? []) as Record<string, unknown>[];
}

for (const layout of ["p1", "p2", "p2b", "p3", "p4"] as const)
  test(`Loader loads, lists and unloads for clients of ${layout}`, async () => {
    using client = bench.client(app);
    const sample = loadSamples.find((each) => each.layout === layout && /tc|globals/.test(each.name))!;
    bench.offer(file, image);
    const id = await load(client, layout, sample.request);
    assert.match(id, uuidForm);
    const listed = await list(client, layout);
    assert.deepEqual(
      listed.map((each) => [each["id"], each["name"]]),
      [[id, "pass"]],
    );
    await unload(client, id);
    assert.deepEqual(await list(client, layout), []);
    assert.equal(bench.daemon.plan.programs.length, 0);
  });

test("serveLoader refuses a request whose authority is none, and goes on", async () => {
  const session = connectHttp2("http://localhost", { createConnection: () => connect(bench.config.unix) });
  const stream = session.request({ ":method": "POST", ":path": "/bpfd.v1.Loader/List", ":authority": "[" });
  const [headers] = (await once(stream.end(), "response")) as [IncomingHttpHeaders];
  session.destroy();
  assert.equal(headers[":status"], 400);
  using client = bench.localClient();
  assert.deepEqual(await list(client, "p2"), []);
});

test("Loader stores a Load as a config that says who loaded it, and global data reaches the program", async () => {
  using client = bench.client(app);
  const request = { ...plainLoad, global_data: { u: Buffer.from([7, 0, 0, 0]) } };
  const id = await load(client, "p2b", request);
  await bench.store.refresh();
  const [stored] = bench.store.snapshot().objects;
  assert.equal(stored?.ref.kind, "BpfProgramConfig");
  assert.equal(stored?.object.metadata.annotations?.["bpfleet.io/loaded-by"], "CN=app");
  assert.deepEqual(bench.daemon.plan.programs[0]?.globals["u"], Uint8Array.of(7, 0, 0, 0));
  await unload(client, id);
});

test("Loader lets nobody unload but who loaded, an administrator and the unix socket", async () => {
  using client = bench.client(app);
  using stranger = bench.client(other);
  using administrator = bench.client(bench.authority.issue("bpfctl"));
  using local = bench.localClient();
  const id = await load(client, "p2", plainLoad);
  await assert.rejects(unload(stranger, id), { code: status.ABORTED, details: "Not authorized" });
  assert.equal((await list(stranger, "p2")).length, 1);
  await unload(administrator, id);
  assert.equal((await list(client, "p2")).length, 0);
  const again = await load(client, "p2", plainLoad);
  assert.notEqual(again, id);
  await unload(local, again);
  assert.equal((await list(local, "p2")).length, 0);
});

test("Loader serves a client of p2 by mutual TLS, and refuses the Unload of another CN: acceptance case 22 of bpfd", async () => {
  using client = bench.client(app);
  using stranger = bench.client(other);
  const id = await load(client, "p2", plainLoad);
  await assert.rejects(unload(stranger, id), { code: status.ABORTED, details: "Not authorized" });
  assert.equal(bench.daemon.plan.programs.length, 1);
  assert.deepEqual(
    (await list(client, "p2")).map((each) => each["id"]),
    [id],
  );
  await unload(client, id);
  assert.equal(bench.daemon.plan.programs.length, 0);
});

test("Loader says why a program that it unloads stays", async () => {
  using client = bench.client(app);
  const id = await load(client, "p2", plainLoad);
  await new Promise((resolve) => setTimeout(resolve, 200));
  bench.daemon.keepsPrograms = true;
  try {
    await assert.rejects(unload(client, id), {
      code: status.ABORTED,
      details: /detach xdp\/eth0: read-only file system/,
    });
  } finally {
    bench.daemon.keepsPrograms = false;
  }
});

test("Loader says invalid id to what is none, and Invalid ID to one that nobody has", async () => {
  using client = bench.client(app);
  await assert.rejects(unload(client, "nonsense"), { code: status.INVALID_ARGUMENT, details: "invalid id" });
  const unknown = "bdeac6d3-4128-464e-9161-6010684eca27";
  await assert.rejects(unload(client, unknown), { code: status.ABORTED, details: "Invalid ID" });
});

test("Loader tells why a program does not load, and keeps nothing of it", async () => {
  using client = bench.client(app);
  const cases = [
    [{ ...plainLoad, section_name: "nosuch" }, /Unable to find a valid program with section name nosuch/],
    [{ ...plainLoad, network_multi_attach: { iface: "eth9", priority: 5 } }, /eth9/],
    [{ ...plainLoad, network_multi_attach: { iface: "eth0", priority: 5000 } }, /1000/],
    [{ ...plainLoad, location: "quay.io/x" }, /image:\/\/REFERENCE/],
  ] as const;
  for (const [request, details] of cases)
    await assert.rejects(load(client, "p2", request), { code: status.ABORTED, details });
  bench.refuse(image, "Failed to pull bytecode Image manifest: nobody is there");
  await assert.rejects(load(client, "p2", { ...plainLoad, location: "image://localhost:5000/x:1" }), {
    code: status.ABORTED,
    details: /Failed to pull bytecode Image manifest/,
  });
  bench.offer(file, image);
  assert.deepEqual(await list(client, "p2"), []);
  await bench.store.refresh();
  assert.deepEqual(bench.store.snapshot().objects, []);
});

test("Loader answers UNAUTHENTICATED to whoever has no certificate of the authority, or not exactly one", async () => {
  using without = bench.client(undefined);
  const strangers = new Authority(bench.directory, "strangers");
  using foreign = bench.client(strangers.issue("app-of-strangers"));
  using expired = bench.client(bench.authority.issue("expired", undefined, { days: -1 }));
  using nameless = bench.client(bench.authority.issue("nameless", undefined, { subject: "/O=nameless" }));
  for (const client of [without, foreign, expired, nameless])
    await assert.rejects(list(client, "p2"), { code: status.UNAUTHENTICATED });
  const chain = join(bench.directory, "chain.crt");
  const intermediate = bench.authority.issueAuthority("middle");
  const leaf = intermediate.issue("below");
  writeFileSync(chain, readFileSync(leaf.cert, "utf8") + readFileSync(intermediate.cert, "utf8"));
  using chained = bench.client({ cert: chain, key: leaf.key });
  await assert.rejects(list(chained, "p2"), { code: status.UNAUTHENTICATED });
});

test("Loader keeps what was loaded over a restart, and the layout of the client that loaded it", async () => {
  const sample = loadSamples.find(({ layout, name }) => layout === "p4" && name === "tracepoint")!;
  let id: string;
  {
    using client = bench.client(app);
    id = await load(client, "p4", sample.request);
    await assert.rejects(load(client, "p4", sample.request), { code: status.ABORTED, details: /loaded already/ });
  }
  await bench.stop();
  await bench.startServer();
  using client = bench.client(app);
  using stranger = bench.client(other);
  assert.deepEqual(
    (await list(client, "p4")).map((each) => each["id"]),
    [id],
  );
  assert.deepEqual(
    (await list(stranger, "p2")).map((each) => each["id"]),
    [id],
  );
  // The id that the client gave is as good as the program's own.
  await unload(client, "0b1c8c2e-55d0-4c0c-a1f3-6f0e6b9f2a10");
  assert.deepEqual(await list(client, "p4"), []);
});

test("Loader keeps the password of a registry in a Secret that only its owner reads, as long as the program is loaded", async () => {
  using client = bench.client(app);
  const sample = loadSamples.find(({ layout, name }) => layout === "p3" && name === "xdp from an image")!;
  const secret = "bpfd/loader";
  const calls = load(client, "p3", sample.request);
  let [source] = bench.daemon.sources;
  for (; source === undefined; [source] = bench.daemon.sources) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(source.from === "image" && source.pullSecret?.startsWith(secret));
  bench.offer(source);
  const id = await calls;
  await bench.store.refresh();
  const stored = bench.store.snapshot().objects.find(({ ref }) => ref.kind === "Secret")!;
  assert.equal(statSync(stored.path).mode & 0o777, 0o600);
  const { [`bpfd/${stored.ref.name}`]: data } = bench.daemon.secrets;
  const login = JSON.parse(Buffer.from(data?.[".dockerconfigjson"] ?? "", "base64").toString()) as object;
  assert.deepEqual(login, { auths: { "localhost:5000": { auth: Buffer.from("me:secret").toString("base64") } } });
  assert.equal(JSON.stringify(await list(client, "p3")).includes("secret"), false);
  await unload(client, id);
  await bench.store.refresh();
  assert.deepEqual(bench.store.snapshot().objects, []);
});

test("serveLoader takes a renewed authority, and no client of the one before", async () => {
  const before = readFileSync(bench.authority.cert);
  const next = new Authority(bench.directory, "next-ca");
  const files = next.issue("app-of-next");
  writeFileSync(bench.authority.cert, Buffer.concat([before, readFileSync(next.cert)]));
  const works = async (who: IssuedFiles): Promise<boolean> => {
    using client = bench.client(who);
    try {
      await list(client, "p2");
      return true;
    } catch {
      return false;
    }
  };
  for (let tries = 0; !(await works(files)) || !(await works(app)); tries++) assert.ok(tries < 50);
  writeFileSync(bench.authority.cert, before);
  for (let tries = 0; await works(files); tries++) assert.ok(tries < 50);
  assert.equal(await works(app), true);
});

test("serveLoader goes on with the certificates from before while files are half written, unreadable or do not fit, and says so", async () => {
  const { cert: ca } = bench.authority;
  const { cert = "", key = "" } = bench.config.tls ?? {};
  const whole = new Map([ca, cert, key].map((path) => [path, readFileSync(path)] as const));
  const wholeCa = whole.get(ca) ?? Buffer.of();
  const another = new Authority(bench.directory, "another-ca").issue("another");
  const works = async (): Promise<boolean> => {
    using client = bench.client(app, wholeCa);
    try {
      await list(client, "p2");
      return true;
    } catch {
      return false;
    }
  };
  const damages: readonly (readonly [path: string, write: (path: string) => void, notice: RegExp])[] = [
    [ca, (path) => writeFileSync(path, ""), /it has 0 whole certificates of 0; .* goes on with the certificates/],
    [ca, (path) => writeFileSync(path, wholeCa.subarray(0, 300)), /it has 0 whole certificates of 1/],
    [
      ca,
      (path) => writeFileSync(path, Buffer.concat([wholeCa, wholeCa.subarray(0, 300)])),
      /1 whole certificates of 2/,
    ],
    [ca, (path) => writeFileSync(path, wholeCa.toString().replace(/M[A-Z]/g, "AA")), /it is not a certificate/],
    [ca, (path) => rmSync(path), /ENOENT/],
    [cert, (path) => writeFileSync(path, readFileSync(another.cert)), /it is not the certificate of the key/],
    [key, (path) => writeFileSync(path, "-----BEGIN PRIVATE KEY-----\n"), /it is not a private key/],
  ];
  using stranger = bench.client(another, wholeCa);
  for (const [path, damage, notice] of damages) {
    bench.notices.length = 0;
    damage(path);
    for (let tries = 0; !bench.notices.some((each) => notice.test(each)); tries++) {
      assert.ok(tries < 200, `${String(notice)} was not said: ${bench.notices.join("\n")}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(await works(), true, String(notice));
    await assert.rejects(list(stranger, "p2"), { code: status.UNAUTHENTICATED });
    writeFileSync(path, whole.get(path) ?? "");
    for (let tries = 0; !bench.notices.some((each) => /can be used again/.test(each)); tries++) {
      assert.ok(tries < 200);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }
});

test("serveLoader serves nothing when it starts with files that are not whole", async () => {
  const path = bench.authority.cert;
  const whole = readFileSync(path);
  await bench.stop();
  try {
    writeFileSync(path, whole.subarray(0, 300));
    await assert.rejects(bench.startServer(), /it has 0 whole certificates of 1/);
    await bench.stop();
  } finally {
    writeFileSync(path, whole);
    await bench.startServer();
  }
});

test("parseBpfdConfig has bpfd's defaults, and names the key that is wrong", () => {
  const { tls, address, port, unix, administrators } = parseBpfdConfig("[tls]\n");
  assert.deepEqual(tls, {
    caCert: "/etc/bpfd/certs/ca/ca.crt",
    cert: "/etc/bpfd/certs/bpfd/tls.crt",
    key: "/etc/bpfd/certs/bpfd/tls.key",
  });
  assert.deepEqual([address, port, unix, administrators], ["::1", 50051, "/run/bpfd/bpfd.sock", []]);
  assert.throws(() => parseBpfdConfig("[grpc.endpoint]\nport = 99999\n"), /grpc\.endpoint\.port/);
  assert.throws(() => parseBpfdConfig('[loader]\nlayout = "p9"\n'), /loader\.layout/);
  assert.throws(() => parseBpfdConfig("[tls\n"));
});

test("parseBpfdConfig serves or refuses every key by its name", () => {
  const interfaces = '[interfaces.eth0]\nxdp_mode = "drv"\n[interfaces."eth0.7"]\nxdp_mode = "skb"\n[interfaces.lo]\n';
  const { tls, xdpModes } = parseBpfdConfig(interfaces);
  assert.equal(tls, undefined);
  assert.deepEqual(xdpModes, { eth0: "native", "eth0.7": "skb", lo: "skb" });
  const { notices } = parseBpfdConfig('[tls]\nclient_cert = "/c"\nclient_key = "/k"\n');
  assert.deepEqual(
    notices.map((notice) => notice.split(":")[0]),
    ["tls.client_cert", "tls.client_key"],
  );
  for (const [text, what] of [
    ['[interfaces.eth0]\nxdp_mode = "hw"\n', /^SyntaxError: interfaces\.eth0\.xdp_mode: hw is not served/],
    ['[interfaces.eth0]\nxdp_mode = "fast"\n', /interfaces\.eth0\.xdp_mode: must be one of skb, drv, hw, is fast/],
    ["[interfaces.eth0]\nmtu = 5\n", /interfaces\.eth0\.mtu: is no key/],
    ["[interfaces]\neth0 = 5\n", /interfaces\.eth0: must be a table/],
    ['[tls]\nca = "/x"\n', /tls\.ca: is no key here; there are ca_cert, cert, key/],
    ["[grpc.endpoint]\nhost = 5\n", /grpc\.endpoint\.host: is no key/],
    ["[grpc]\nport = 5\n", /grpc\.port: is no key/],
    ["[signing]\n", /^SyntaxError: signing: is no key/],
    ["[grpc.endpoint]\naddress = 5\n", /grpc\.endpoint\.address: must be text/],
  ] as const)
    assert.throws(() => parseBpfdConfig(text), what, text);
});
