import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { TempFolder } from "../testing/temp-folder.ts";
import { HandTiming } from "../testing/hand-timing.ts";
import { loadAccess } from "./load-access.ts";

const group = "client.authentication.k8s.io";

interface Setting {
  readonly script: string;
  readonly exec?: object;
  readonly cluster?: object;
  readonly hasTerminal?: boolean;
}

/** A kubeconfig with a real program beside it, which counts its runs. */
function setUp(folder: TempFolder, { script, exec = {}, cluster = {}, hasTerminal = false }: Setting) {
  const timing = new HandTiming();
  folder.write("runs", "");
  folder.write("plugin", `#!/bin/sh\nset -e\ncd "$(dirname "$0")"\necho run >>runs\n${script}\n`, 0o700);
  const plugin = { apiVersion: `${group}/v1`, interactiveMode: "Never", command: "./plugin", ...exec };
  const text = JSON.stringify({
    "current-context": "c",
    clusters: [{ name: "c", cluster: { server: "https://c", ...cluster } }],
    users: [{ name: "c", user: { exec: plugin } }],
    contexts: [{ name: "c", context: { cluster: "c", user: "c" } }],
  });
  const env = { PATH: process.env["PATH"] };
  const { credentials } = loadAccess({ env, kubeconfig: folder.write("config", text), timing, hasTerminal });
  const runs = (): number => readFileSync(join(folder.path, "runs"), "utf8").split("\n").length - 1;
  return { credentials, timing, runs };
}

function answer(status: object, version = "v1"): string {
  return `cat <<'END'\n${JSON.stringify({ apiVersion: `${group}/${version}`, kind: "ExecCredential", status })}\nEND`;
}

test("ExecCredentials runs the plug-in once for all who ask, and again shortly before its token expires", async () => {
  using folder = new TempFolder();
  const expirationTimestamp = "2023-11-14T22:23:20Z"; // 600 s after the clock's beginning.
  const { credentials, timing, runs } = setUp(folder, { script: answer({ token: "abc", expirationTimestamp }) });
  const proofs = await Promise.all([credentials.current(), credentials.current(), credentials.current()]);
  assert.deepEqual(new Set(proofs.map(({ authorization }) => authorization)), new Set(["Bearer abc"]));
  assert.equal(runs(), 1);
  timing.nowMs += 589_000;
  await credentials.current();
  assert.equal(runs(), 1);
  timing.nowMs += 2000;
  await credentials.current();
  assert.equal(runs(), 2);
});

test("ExecCredentials runs the plug-in again when the server refused what it gave, once", async () => {
  using folder = new TempFolder();
  const { credentials, runs } = setUp(folder, { script: answer({ token: "abc" }) });
  const refused = await credentials.current();
  await credentials.renew(refused);
  const renewed = await credentials.current();
  assert.equal(runs(), 2);
  // Another request was refused with the old one: that is renewed already.
  await credentials.renew(refused);
  assert.equal(await credentials.current(), renewed);
  assert.equal(runs(), 2);
});

test("ExecCredentials gives client certificates, and serves v1beta1 plug-ins", async () => {
  using folder = new TempFolder();
  const { credentials } = setUp(folder, {
    script: answer({ clientCertificateData: "CERT", clientKeyData: "KEY" }, "v1beta1"),
    exec: { apiVersion: `${group}/v1beta1`, interactiveMode: undefined },
  });
  assert.deepEqual(await credentials.current(), { certificate: { cert: "CERT", key: "KEY" } });
});

test("ExecCredentials gives the plug-in its arguments, its environment, and the cluster where it asks for it", async () => {
  using folder = new TempFolder();
  const { credentials } = setUp(folder, {
    script: `echo "$1 $OWN" >args; echo "$KUBERNETES_EXEC_INFO" >info\n${answer({ token: "t" })}`,
    exec: { args: ["--x"], env: [{ name: "OWN", value: "y" }], provideClusterInfo: true },
    cluster: {
      "tls-server-name": "k",
      extensions: [{ name: "client.authentication.k8s.io/exec", extension: { audience: "a" } }],
    },
  });
  await credentials.current();
  assert.equal(readFileSync(join(folder.path, "args"), "utf8"), "--x y\n");
  assert.deepEqual(JSON.parse(readFileSync(join(folder.path, "info"), "utf8")), {
    apiVersion: `${group}/v1`,
    kind: "ExecCredential",
    spec: {
      interactive: false,
      cluster: { server: "https://c", "tls-server-name": "k", config: { audience: "a" } },
    },
  });
});

test("ExecCredentials refuses a plug-in that must ask where nobody can be asked", async () => {
  using folder = new TempFolder();
  const { credentials, runs } = setUp(folder, { script: "true", exec: { interactiveMode: "Always" } });
  await assert.rejects(
    credentials.current(),
    /it must ask you something \(interactiveMode: Always\), and there is no terminal/,
  );
  assert.equal(runs(), 0);
});

test("ExecCredentials says what went wrong with a plug-in, and tries again at the next request", async () => {
  const cases: readonly (readonly [Setting, RegExp])[] = [
    [
      { script: "echo log in first >&2; exit 3" },
      /run .*plugin of users\[0\]\.user\.exec in .*: it ended with 3, saying: log in first/,
    ],
    [
      { script: "echo hello" },
      /printed: no JSON; it must print an ExecCredential of client\.authentication\.k8s\.io\/v1$/,
    ],
    [{ script: answer({ token: "t" }, "v1beta1") }, /it is client\.authentication\.k8s\.io\/v1beta1 ExecCredential/],
    [{ script: answer({}) }, /neither a token nor a client certificate/],
    [{ script: answer({ clientKeyData: "k" }) }, /neither a token nor a client certificate/],
    [{ script: answer({ token: "t", clientKeyData: "k" }) }, /must come together/],
    [{ script: answer({ token: 1 }) }, /status\.token is no text/],
    [{ script: answer({ token: "t", expirationTimestamp: "soon" }) }, /expirationTimestamp soon is no time/],
    [
      { script: "", exec: { command: "bpfleet-absent-plugin", installHint: "get it from your administrator" } },
      /run bpfleet-absent-plugin of .*: no such file \(ENOENT\); get it from your administrator$/,
    ],
  ];
  for (const [setting, expected] of cases) {
    using folder = new TempFolder();
    const { credentials } = setUp(folder, setting);
    await assert.rejects(credentials.current(), expected);
    folder.write("plugin", `#!/bin/sh\n${answer({ token: "later" })}\n`, 0o700);
    if (setting.exec === undefined) assert.equal((await credentials.current()).authorization, "Bearer later");
  }
});
