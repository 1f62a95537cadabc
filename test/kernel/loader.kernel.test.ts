import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { Authority, bpfdProtos, type IssuedFiles } from "@bpfleet/loader/testing";
import { StandaloneNode } from "./standalone-node.ts";

const root = join(import.meta.dirname, "../..");
const script = join(root, "packages/loader/src/testing/call-loader.ts");

function compileCounter(directory: string): string {
  const object = join(directory, "counter.o");
  const multiarch = `${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  const flags = ["-target", "bpf", "-O2", "-g", "-I", join(root, "build/include"), `-I/usr/include/${multiarch}`];
  execFileSync("clang", [...flags, "-c", join(root, "examples/bpf/counter.bpf.c"), "-o", object]);
  return object;
}

test("ebpfctl up serves clients of bpfd: what one loads runs, survives a restart, and only he unloads it", async (context) => {
  await using closing = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "loader-"));
  closing.defer(() => rmSync(directory, { recursive: true }));
  const object = compileCounter(directory);
  const authority = new Authority(directory, "bpfd-ca");
  const server = authority.issue("bpfd");
  const [app, other] = [authority.issue("app"), authority.issue("other")];
  const config = join(directory, "bpfd.toml");
  const tls = `[tls]\nca_cert = "${authority.cert}"\ncert = "${server.cert}"\nkey = "${server.key}"\n`;
  writeFileSync(config, `${tls}[grpc.endpoint]\nunix = "${join(directory, "bpfd.sock")}"\n`);

  const node = await StandaloneNode.make();
  if (node === undefined) return context.skip("there is no cgroup v2");
  closing.use(node);
  execFileSync("ip", ["-n", node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
  execFileSync("ip", ["-n", node.netns, "link", "set", "eth0", "up"]);

  /** By mutual TLS from inside the node's network namespace, where [::1]:50051 is. */
  const call = async (who: IssuedFiles, method: string, request: Buffer): Promise<Buffer> => {
    const words = [process.execPath, script, authority.cert, who.cert, who.key, method, request.toString("base64")];
    const child = spawn("nsenter", [`--net=/run/netns/${node.netns}`, ...words], { stdio: ["ignore", "pipe", "pipe"] });
    const texts = { out: "", err: "" };
    child.stdout.on("data", (chunk) => void (texts.out += String(chunk)));
    child.stderr.on("data", (chunk) => void (texts.err += String(chunk)));
    const [exitCode] = (await once(child, "close")) as [number | null];
    if (exitCode !== 0) throw new Error(texts.err);
    return Buffer.from(texts.out, "base64");
  };
  const { p2 } = bpfdProtos;
  const list = async (): Promise<readonly Record<string, unknown>[]> => {
    const answer = p2.decode("ListResponse", await call(app, "List", p2.encode("ListRequest", {})));
    return (answer["results"] ?? []) as Record<string, unknown>[];
  };

  await node.up("", "--bpfd-config", config);
  const attach = { priority: 55, iface: "eth0", proceed_on: ["PASS", "DISPATCHER_RETURN"] };
  const request = { location: `file://${object}`, section_name: "stats", network_multi_attach: attach };
  const answer = p2.decode("LoadResponse", await call(app, "Load", p2.encode("LoadRequest", request)));
  const id = String(answer["id"]);
  const loaded = {
    id,
    name: "stats",
    location: `file://${object}`,
    network_multi_attach: attach,
  };
  assert.deepEqual(await list(), [loaded]);
  assert.match(execFileSync("ip", ["-n", node.netns, "link", "show", "eth0"]).toString(), /prog\/xdp|xdp/);
  const broken = p2.encode("LoadRequest", { ...request, section_name: "nosuch" });
  await assert.rejects(call(app, "Load", broken), /Unable to find a valid program with section name nosuch/);

  await node.stop("SIGKILL");
  await node.up("", "--bpfd-config", config);
  assert.deepEqual(await list(), [loaded]);
  const unload = p2.encode("UnloadRequest", { id });
  await assert.rejects(call(other, "Unload", unload), /Not authorized/);
  await call(app, "Unload", unload);
  assert.deepEqual(await list(), []);
  assert.doesNotMatch(execFileSync("ip", ["-n", node.netns, "link", "show", "eth0"]).toString(), /xdp/);
});

test("ebpfctl up loads what programs.d declares at every start, and takes back what it declares no more", async (context) => {
  await using closing = new AsyncDisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "static-"));
  closing.defer(() => rmSync(directory, { recursive: true }));
  const object = compileCounter(directory);
  const config = join(directory, "bpfd.toml");
  writeFileSync(config, `[grpc.endpoint]\nunix = "${join(directory, "bpfd.sock")}"\n`);
  mkdirSync(join(directory, "programs.d"));
  const declare = (file: string, name: string): void => {
    const text = `[[programs]]\nname = "${name}"\ninterface = "eth0"\npath = "${object}"\n`;
    writeFileSync(join(directory, "programs.d", file), `${text}section_name = "stats"\nprogram_type = "xdp"\n`);
  };
  const node = await StandaloneNode.make();
  if (node === undefined) return context.skip("there is no cgroup v2");
  closing.use(node);
  execFileSync("ip", ["-n", node.netns, "link", "add", "eth0", "type", "veth", "peer", "name", "eth1"]);
  execFileSync("ip", ["-n", node.netns, "link", "set", "eth0", "up"]);
  const hasXdp = (): boolean => /xdp/.test(execFileSync("ip", ["-n", node.netns, "link", "show", "eth0"]).toString());
  const loaded = async (): Promise<readonly string[]> =>
    [...(await node.do("get", "bpfprograms")).matchAll(/^(static-\w+)-/gm)].map(([, name = ""]) => name).toSorted();

  declare("a.toml", "one");
  declare("b.toml", "two");
  await node.up("", "--bpfd-config", config);
  assert.deepEqual(await loaded(), ["static-one", "static-two"]);
  assert.ok(hasXdp());
  await node.stop("SIGKILL");
  writeFileSync(join(directory, "programs.d/b.toml"), "[[programs\n");
  await node.up("", "--bpfd-config", config);
  assert.deepEqual(await loaded(), ["static-one", "static-two"], "a file that cannot be read takes nothing back");
  await node.stop("SIGTERM");
  rmSync(join(directory, "programs.d/a.toml"));
  declare("b.toml", "three");
  await node.up("", "--bpfd-config", config);
  assert.deepEqual(await loaded(), ["static-three"]);
  assert.ok(hasXdp());
  await node.stop("SIGTERM");
  rmSync(join(directory, "programs.d"), { recursive: true });
  await node.up("", "--bpfd-config", config);
  assert.deepEqual(await loaded(), []);
  assert.ok(!hasXdp());
});
