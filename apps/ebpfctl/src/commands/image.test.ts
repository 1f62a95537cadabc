import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { digestOf, isIndex, parseManifest, readBytecode } from "@bpfleet/oci";
import {
  bundleEvidence,
  credentialsFor,
  openClient,
  pushEvidence,
  readFixture,
  RegistryBench,
  registryAbsence,
  RegistryProcess,
  registryUser,
  releaseIssuer,
  signedImage,
  simpleEvidence,
} from "@bpfleet/oci/testing";
import { CommandBench } from "../testing/run-command.ts";

const root = join(import.meta.dirname, "../../../..");
const image = signedImage();
const reference = "quay.io/bpfd-bytecode/xdp_pass:latest";
const skip = registryAbsence() ?? false;

function objectOf(): Uint8Array {
  const manifest = parseManifest(image.manifest, "fixture");
  if (isIndex(manifest)) throw new TypeError("the fixture is one image");
  return readBytecode({ ...image, manifest }, "fixture").object;
}

function prepare(directory: string): void {
  writeFileSync(join(directory, "pass.bpf.o"), objectOf());
  for (const name of ["release.pub", "other.pub", "trusted-root.json"])
    writeFileSync(join(directory, name), readFixture(name));
}

test("image build reads the labels from the object, and gives the bytes that were signed", async () => {
  using bench = new CommandBench();
  prepare(bench.directory);
  const built = await bench.run(["image", "build", "pass.bpf.o"]);
  assert.deepEqual(built, { exitCode: 0, out: `pass.oci.tar: ${image.digest}\n`, err: "" });
  const inspected = await bench.run(["image", "inspect", "pass.oci.tar"]);
  assert.equal(
    inspected.out,
    `Name:    DIR/pass.oci.tar
Digest:  ${image.digest}
Object:  ${digestOf(objectOf())} (${objectOf().length} bytes)
Labels:
  io.ebpf.program_type       xdp
  io.ebpf.filename           pass.bpf.o
  io.ebpf.program_name       pass
  io.ebpf.section_name       pass
  io.ebpf.bpf_function_name  pass
  io.ebpf.programs           {"pass":"xdp"}
  io.ebpf.maps               {"passed":"per_cpu_array"}
Programs:
  pass  xdp
Maps:
  passed  per_cpu_array
`,
  );
  const more = ["--label", "team=a=b", "--name", "n", "--kernel-version", "5.19", "-o", "x.tar"];
  await bench.run(["image", "build", "pass.bpf.o", ...more]);
  const { out } = await bench.run(["image", "inspect", "x.tar", "-o", "json"]);
  const { labels } = JSON.parse(out) as { labels: { all: Record<string, string>; kernelVersion: string } };
  assert.deepEqual(
    [labels.all["team"], labels.all["io.ebpf.program_name"], labels.kernelVersion],
    ["a=b", "n", "5.19"],
  );
});

test("image inspect lets no label steer the terminal", async () => {
  using bench = new CommandBench();
  prepare(bench.directory);
  await bench.run(["image", "build", "pass.bpf.o", "--label", "evil=\u001b[2J\u009bx\ny"]);
  const { out } = await bench.run(["image", "inspect", "pass.oci.tar"]);
  assert.match(out, / evil +\\u001b\[2J\\u009bx\\u000ay\n/);
});

test("image generate-build-args prints what a Containerfile takes", async () => {
  using bench = new CommandBench();
  prepare(bench.directory);
  const { out } = await bench.run(["image", "generate-build-args", "pass.bpf.o", "--kernel-version", "6.1"]);
  assert.equal(
    out,
    `PROGRAM_NAME=pass
SECTION_NAME=pass
PROGRAM_TYPE=xdp
BYTECODE_FILENAME=pass.bpf.o
KERNEL_COMPILE_VER=6.1
BYTECODE_FILE=pass.bpf.o
PROGRAMS={"pass":"xdp"}
MAPS={"passed":"per_cpu_array"}
`,
  );
});

test("image generate-build-args says what it leaves out of an object with several programs", async () => {
  using bench = new CommandBench();
  const code = ["a", "b"].map((name) => `__attribute__((section("xdp/${name}"))) int ${name}(void *ctx) { return 2; }`);
  const input = `${code.join("\n")}\nchar LICENSE[] __attribute__((section("license"))) = "GPL";\n`;
  const flags = ["-O2", "-g", "-target", "bpf", "-x", "c", "-c", "-", "-o", join(bench.directory, "two.bpf.o")];
  execFileSync("clang", flags, { input });
  const { out, err } = await bench.run(["image", "generate-build-args", "two.bpf.o"]);
  assert.doesNotMatch(out, /PROGRAM_NAME|SECTION_NAME|PROGRAM_TYPE/);
  assert.match(out, /^PROGRAMS=\{"a":"xdp","b":"xdp"\}$/m);
  assert.match(err, /^note: there are several programs; without --program there is no PROGRAM_NAME/);
  const one = await bench.run(["image", "generate-build-args", "two.bpf.o", "--program", "b"]);
  assert.match(one.out, /^PROGRAM_NAME=b$/m);
  assert.equal(one.err, "");
});

test("image says what is wrong with files and flags", async () => {
  using bench = new CommandBench();
  prepare(bench.directory);
  const cases: [string[], RegExp][] = [
    [["build", "none.o"], /^error: read object DIR\/none\.o: ENOENT; give what clang -target bpf made\n$/],
    [["build", "release.pub"], /^error: .*ELF/i],
    [["build", "pass.bpf.o", "--program", "drop"], /^error: find program drop in DIR\/pass\.bpf\.o: it has pass\n$/],
    [["build", "pass.bpf.o", "--label", "x"], /^error: read --label x: it must be name=value\n$/],
    [["inspect", "none.tar"], /^error: read image DIR\/none\.tar: ENOENT; give what/],
    [["inspect", "quay.io/A"], /^error: read image reference "quay\.io\/A": a repository is in lower case/],
    [["push", "none.tar", `quay.io/a@${image.digest}`], /a digest cannot be chosen; give a tag/],
    [["verify", "quay.io/a/b"], /the image policy is off for it; give --key/],
    [["verify", "quay.io/a/b", "--certificate-identity", "x"], /give --certificate-oidc-issuer and --trusted-root too/],
    [["verify", "quay.io/a/b", "--key", "trusted-root.json"], /must be a public key in PEM/],
    [["pull", "quay.io/a/b", "--policy", "release.pub"], /release\.pub/],
    [["pull", "quay.io/a/b", "--authfile", "none.json"], /read pull secret none\.json: ENOENT/],
    [["pull", "quay.io/a/b", "--pull-policy", "Never"], /it is not in DIR\/state\/oci and the pull policy is Never/],
  ];
  for (const [argv, message] of cases) {
    const { exitCode, err } = await bench.run(["image", ...argv]);
    assert.match(err, message, argv.join(" "));
    assert.equal(exitCode, 1);
  }
});

/** A registry that serves quay.io by a mirror file, and a directory with what the guide speaks of. */
async function withRegistry(
  run: (bench: CommandBench, registry: RegistryBench, host: string) => Promise<void>,
): Promise<void> {
  using registry = new RegistryBench();
  await using process = await RegistryProcess.start(registry.directory, registry.tls, "basic");
  registry.mirror("quay.io", [`https://${process.host}`]);
  using bench = new CommandBench();
  prepare(bench.directory);
  const auth = Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64");
  writeFileSync(join(bench.directory, "auth.json"), JSON.stringify({ auths: { [process.host]: { auth } } }));
  Object.assign(bench.env, {
    BPFLEET_REGISTRIES: registry.mirrors,
    REGISTRY_AUTH_FILE: join(bench.directory, "auth.json"),
  });
  await run(bench, registry, process.host);
}

test("image push, pull and verify work on a registry with TLS and a password", { skip }, async () => {
  await withRegistry(async (bench, registry, host) => {
    await bench.run(["image", "build", "pass.bpf.o"]);
    const pushed = await bench.run(["image", "push", "pass.oci.tar", reference]);
    assert.deepEqual(pushed, { exitCode: 0, out: `quay.io/bpfd-bytecode/xdp_pass@${image.digest}\n`, err: "" });
    const pulled = await bench.run(["image", "pull", reference, "--object", "pulled.o"]);
    assert.equal(
      pulled.out,
      `${reference}: ${image.digest}\nsignature not-checked: the image policy of this node is off for it\n`,
    );
    assert.deepEqual(readFileSync(join(bench.directory, "pulled.o")), Buffer.from(objectOf()));

    const verify = ["image", "verify", reference];
    const unsigned = await bench.run([...verify, "--key", "release.pub"]);
    assert.deepEqual([unsigned.exitCode, unsigned.out], [1, ""]);
    assert.match(unsigned.err, /^error: verify quay\.io.*: unsigned: nothing signs sha256:.*; sign it with a key/);
    await using client = await openClient(reference, "push", registry, credentialsFor(host));
    await pushEvidence(client, bundleEvidence("keyless.bundle.json", image.digest));
    await pushEvidence(client, simpleEvidence("key.sig.json", image.digest));
    const byKey = await bench.run([...verify, "--key", "release.pub"]);
    assert.match(byKey.out, /^quay\.io.*\nverified: key release\.pub \(sha256:[0-9a-f]{64}\), simplesigning\n$/);
    const other = await bench.run(["-v", ...verify, "--key", "other.pub"]);
    assert.equal(other.exitCode, 1);
    assert.match(
      other.err,
      /refused: bundle 1 by key other\.pub: it is signed with a certificate[^]*\nsimplesigning 2 by key other\.pub: signature verification failed/,
    );
    const issuer = ["--certificate-oidc-issuer", releaseIssuer, "--trusted-root", "trusted-root.json"];
    const byIdentity = await bench.run([
      ...verify,
      "--certificate-identity-regexp",
      "https://github.com/example/.*",
      ...issuer,
    ]);
    assert.match(byIdentity.out, /\nverified: https:\/\/github\.com\/example\/.* \(issuer https:.*\), bundle\n$/);
  });
});

test("the commands of docs/guides/images.md do what it says", { skip }, async () => {
  await withRegistry(async (bench, registry, host) => {
    const guide = readFileSync(join(root, "docs/guides/images.md"), "utf8");
    const blocks = Array.from(guide.matchAll(/^```(sh|sh cosign|yaml|toml)\n([^]*?)^```$/gm), ([, kind, body]) => ({
      kind,
      body: body ?? "",
    }));
    assert.deepEqual([blocks.filter(({ kind }) => kind === "sh").length, blocks.length], [5, 8]);
    for (const { kind, body } of blocks) {
      if (kind === "sh") await runShell(body, bench);
      if (kind === "yaml") writeFileSync(join(bench.directory, "image-policy.yaml"), body);
      if (kind === "toml") {
        mkdirSync(join(registry.mirrors, "read.example.com"));
        writeFileSync(join(registry.mirrors, "read.example.com/hosts.toml"), body);
        copyFileSync(registry.tls.cert, join(registry.mirrors, "read.example.com/client.crt"));
        const { err } = await bench.run(["image", "pull", "read.example.com/a/b"]);
        assert.match(err, /read certificate \/etc\/bpfleet\/registries\/mirror-ca\.crt: ENOENT/);
      }
      if (kind === "sh cosign") {
        await using client = await openClient(reference, "push", registry, credentialsFor(host));
        await pushEvidence(client, bundleEvidence("key.bundle.json", image.digest));
        await pushEvidence(client, simpleEvidence("keyless.sig.json", image.digest));
      }
    }
  });
});

/** In the bench's directory, with ebpfctl of this checkout; fails with what the shell said. */
async function runShell(script: string, bench: CommandBench): Promise<void> {
  const env = { ...process.env, ...bench.env, PATH: `${join(root, "bin")}:${process.env["PATH"] ?? ""}` };
  const shell = spawn("sh", ["-euc", script], { cwd: bench.directory, env, stdio: ["ignore", "pipe", "pipe"] });
  const [out, err, [code]] = await Promise.all([text(shell.stdout), text(shell.stderr), once(shell, "exit")]);
  assert.equal(code, 0, `${script}\n${out}${err}`);
}
