import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { TempFolder } from "../testing/temp-folder.ts";
import { HandTiming } from "../testing/hand-timing.ts";
import { AccessError } from "./access-error.ts";
import { loadAccess } from "./load-access.ts";

const pem = (word: string): string => `-----BEGIN ${word}-----\nAAAA\n-----END ${word}-----`;
const packed = (text: string): string => Buffer.from(text).toString("base64");

interface Entry {
  readonly cluster?: object;
  readonly user?: object;
  readonly context?: object;
}

function config({ cluster = {}, user = {}, context = {} }: Entry = {}, name = "one"): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": name,
    clusters: [{ name, cluster: { server: `https://${name}:6443`, ...cluster } }],
    users: [{ name, user }],
    contexts: [{ name, context: { cluster: name, user: name, ...context } }],
  });
}

function load(text: string, more: Partial<Parameters<typeof loadAccess>[0]> = {}) {
  using folder = new TempFolder();
  return loadAccess({ env: {}, kubeconfig: folder.write("config", text), ...more });
}

function complaint(text: string): string {
  try {
    load(text);
  } catch (error) {
    assert.ok(error instanceof AccessError, String(error));
    return error.message.replace(/\/tmp\/[^:, ]*\/config/, "FILE");
  }
  return "none";
}

test("loadAccess reads server, namespace, server name, proxy, authority, token and certificate from their data", async () => {
  const access = load(
    config({
      cluster: {
        "tls-server-name": "kubernetes",
        "proxy-url": "http://proxy:3128",
        "certificate-authority-data": packed(pem("CERTIFICATE")),
      },
      user: {
        token: "secret",
        "client-certificate-data": packed(pem("CERTIFICATE")),
        "client-key-data": packed(pem("PRIVATE KEY")),
      },
      context: { namespace: "team" },
    }),
  );
  assert.equal(access.server, "https://one:6443");
  assert.equal(access.namespace, "team");
  assert.equal(access.tls.serverName, "kubernetes");
  assert.equal(access.proxyUrl, "http://proxy:3128");
  assert.deepEqual(await access.credentials.current(), {
    authorization: "Bearer secret",
    certificate: { cert: pem("CERTIFICATE"), key: pem("PRIVATE KEY") },
    headers: {},
    ca: pem("CERTIFICATE"),
  });
});

test("loadAccess finds files beside the kubeconfig, and reads them again when they were renewed", async () => {
  using folder = new TempFolder();
  const timing = new HandTiming();
  folder.write("token", "first\n");
  folder.write("ca.crt", pem("CERTIFICATE"));
  const text = config({ cluster: { "certificate-authority": "ca.crt" }, user: { tokenFile: "token", token: "no" } });
  const { credentials } = loadAccess({ env: {}, kubeconfig: folder.write("config", text), timing });
  const authorization = async () => (await credentials.current()).authorization;
  assert.equal(await authorization(), "Bearer first");
  folder.write("token", "second");
  assert.equal(await authorization(), "Bearer first");
  timing.passedMs += 10_000;
  assert.equal(await authorization(), "Bearer second");
  folder.write("token", "third");
  await credentials.renew(await credentials.current());
  assert.equal(await authorization(), "Bearer third");
  // A write in the making, and a file that is gone for a moment, keep what there was.
  folder.write("token", "");
  timing.passedMs += 10_000;
  assert.equal(await authorization(), "Bearer third");
  folder[Symbol.dispose]();
  timing.passedMs += 10_000;
  assert.equal(await authorization(), "Bearer third");
});

test("loadAccess merges the files of KUBECONFIG: the first of a name counts, absent files do not", () => {
  using folder = new TempFolder();
  const first = folder.write("a", JSON.stringify({ contexts: [{ name: "two", context: { cluster: "one" } }] }));
  const second = folder.write("b", config({}, "one"));
  const third = folder.write("c", config({ context: { namespace: "third" } }, "two"));
  const env = { KUBECONFIG: ["/absent", first, second, third].join(":") };
  assert.equal(loadAccess({ env }).server, "https://one:6443");
  assert.equal(loadAccess({ env, context: "two" }).namespace, "default");
  assert.equal(loadAccess({ env, context: "two" }).server, "https://one:6443");
});

test("loadAccess takes ~/.kube/config last, and says so when there is nothing at all", () => {
  using folder = new TempFolder();
  assert.throws(() => loadAccess({ env: { HOME: folder.path } }), /find a cluster: there is no kubeconfig/);
  assert.throws(() => loadAccess({ env: { KUBECONFIG: "/absent/config" } }), /no such file \(ENOENT\)/);
});

test("loadAccess takes what Kubernetes gives a pod, and follows its token as it is renewed", async () => {
  using folder = new TempFolder();
  const timing = new HandTiming();
  folder.write("token", "first");
  folder.write("ca.crt", pem("CERTIFICATE"));
  folder.write("namespace", "kube-system");
  const env = { KUBERNETES_SERVICE_HOST: "fd00::1", KUBERNETES_SERVICE_PORT: "443" };
  const access = loadAccess({ env, podFolder: folder.path, timing });
  assert.equal(access.server, "https://[fd00::1]:443");
  assert.equal(access.namespace, "kube-system");
  assert.deepEqual(await access.credentials.current(), { authorization: "Bearer first", ca: pem("CERTIFICATE") });
  folder.write("token", "second");
  timing.passedMs += 60_000;
  assert.equal((await access.credentials.current()).authorization, "Bearer second");
  const none = loadAccess({ env, podFolder: join(folder.path, "none") });
  await assert.rejects(
    none.credentials.current(),
    /token: no such file \(ENOENT\); give the pod a service account token/,
  );
});

test("loadAccess impersonates as the file says", async () => {
  const user = { token: "t", as: "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": { "Ex/am": ["x"] } };
  assert.deepEqual((await load(config({ user })).credentials.current()).headers, {
    "impersonate-user": "jane",
    "impersonate-uid": "7",
    "impersonate-group": ["a", "b"],
    "impersonate-extra-ex%2Fam": ["x"],
  });
});

test("loadAccess says of each mistake where it is, what it is, and what helps", async () => {
  const cases: readonly (readonly [string, RegExp])[] = [
    ["a: [", /^read FILE:1:\d+: no YAML: /],
    ["- a", /^read FILE:1:1: must be an object; is this a kubeconfig\?$/],
    ["{}", /^read FILE: no current-context is set; choose one with `kubectl config use-context`$/],
    ["current-context: x", /there is no context x; there are none at all$/],
    [config().replace('"current-context":"one"', '"current-context":"two"'), /no context two; there are: one$/],
    [
      config({ context: { cluster: "x" } }),
      /contexts\[0\]\.context\.cluster names x, which is not there; add it to clusters; there are: one$/,
    ],
    [config({ context: { user: "x" } }), /contexts\[0\]\.context\.user names x, which is not there/],
    [
      config({ cluster: { server: "one:6443" } }),
      /clusters\[0\]\.cluster\.server is one:6443, which is no address; write https:\/\/HOST:PORT$/,
    ],
    [config({ cluster: { server: "" } }), /clusters\[0\]\.cluster has no server/],
    [
      config({ cluster: { "insecure-skip-tls-verify": "yes" } }),
      /insecure-skip-tls-verify must be true or false; write it without quotes$/,
    ],
    [
      config({ cluster: { "insecure-skip-tls-verify": true, "certificate-authority": "ca" } }),
      /insecure-skip-tls-verify contradicts the certificate authority/,
    ],
    [
      config({ cluster: { "certificate-authority-data": "%" } }),
      /certificate-authority-data is not base64; encode the PEM/,
    ],
    [config({ cluster: { "certificate-authority-data": "AAAA" } }), /certificate-authority-data holds no PEM/],
    [
      config({ cluster: { "proxy-url": "socks5://a" } }),
      /proxy-url is socks5:\/\/a, and only http and https proxies are served/,
    ],
    [config({ user: { token: 12 } }), /users\[0\]\.user\.token must be text; put it in quotes$/],
    [config({ user: { "client-key": "k" } }), /client-certificate is missing, and client-key is of no use without it/],
    [config({ user: { "as-groups": ["a"] } }), /users\[0\]\.user\.as is missing/],
    [
      config({ user: { "auth-provider": { name: "gcp" } } }),
      /auth-provider is served by no client since Kubernetes 1\.26/,
    ],
    [
      config({ user: { exec: {} } }),
      /exec\.apiVersion is missing; plug-ins of client\.authentication\.k8s\.io\/v1 and/,
    ],
    [
      config({ user: { exec: { apiVersion: "client.authentication.k8s.io/v1" } } }),
      /interactiveMode is missing; write one of/,
    ],
    [config({ user: { exec: { apiVersion: "client.authentication.k8s.io/v1beta1" } } }), /exec\.command is missing/],
  ];
  for (const [text, expected] of cases) assert.match(complaint(text), expected);
  const lost = load(config({ user: { tokenFile: "absent" } }));
  await assert.rejects(
    lost.credentials.current(),
    /users\[0\]\.user\.tokenFile names .*absent: no such file \(ENOENT\); check the path/,
  );
  assert.throws(
    () => loadAccess({ env: {}, kubeconfig: "/absent" }),
    /read kubeconfig \/absent: no such file \(ENOENT\)/,
  );
});
