import assert from "node:assert/strict";
import { test } from "node:test";
import { helpText, parseDaemonRun } from "./options.ts";

test("parseDaemonRun reads what the DaemonSet gives the daemon", () => {
  const run = parseDaemonRun([], {
    NODENAME: "n1",
    BPFLEET_SOCKET: "/run/bpfd/bpfleet.sock",
    BPFLEET_TLS_DIR: "/etc/bpfleet/tls",
    BPFLEET_STATE: "/var/lib/bpfleet",
    BPFLEET_METRICS_ADDR: ":9091",
    BPFLEET_HOST_ACCESS: "never",
    BPFLEET_DNS_SECONDS: "120",
    BPFLEET_FAIL_SAFE_PORTS: "in:tcp/22;out:none",
    LOG_LEVEL: "DEBUG",
  });
  assert.ok(run.is === "run");
  const { nodeName, metrics, log, agent, mountBpffs, bpffs, policySettings } = run.options;
  assert.deepEqual([nodeName, mountBpffs, bpffs], ["n1", false, "/run/bpfd/fs"]);
  assert.deepEqual(metrics, { port: 9091, host: "::" });
  assert.deepEqual(log, { level: "debug" });
  assert.deepEqual(policySettings, {
    hostAccess: "never",
    nameSeconds: 120,
    graceSeconds: 60,
    failSafePorts: { ingress: [{ protocol: "TCP", from: 22, to: 22 }], egress: [], reachesApiServer: false },
  });
  assert.deepEqual(agent, {
    socket: "/run/bpfd/bpfleet-plan.sock",
    tls: { cert: "/etc/bpfleet/tls/tls.crt", key: "/etc/bpfleet/tls/tls.key", ca: "/etc/bpfleet/tls/ca.crt" },
    group: undefined,
  });
});

test("parseDaemonRun names all mistakes at once", () => {
  const words = [
    "--metrics-addr",
    "9091",
    "--agent-group=root",
    "--maps-mode",
    "rw",
    "--log-level=loud",
    "--host-access=no",
    "--grace-seconds=1m",
    "--fail-safe-ports=in:22;tcp/22",
    "--color",
  ];
  const run = parseDaemonRun(words, {});
  assert.ok(run.is === "mistakes");
  assert.deepEqual(
    run.mistakes.map((mistake) => mistake.split(":")[0]),
    [
      'read "--color"',
      'read --log-level "loud"',
      'read --metrics-addr "9091"',
      'read --agent-group "root"',
      'read --maps-mode "rw"',
      'read --host-access "no"',
      'read --grace-seconds "1m"',
      "read --fail-safe-ports",
      "read --fail-safe-ports",
    ],
  );
});

test("parseDaemonRun reads the proxies of the environment", () => {
  const run = parseDaemonRun([], { HTTPS_PROXY: "http://proxy:3128", NO_PROXY: "10.0.0.0/8,.svc" });
  assert.ok(run.is === "run");
  assert.deepEqual(run.options.bytecode?.proxies, {
    http: undefined,
    https: "http://proxy:3128/",
    except: ["10.0.0.0/8", ".svc"],
  });
  const wrong = parseDaemonRun([], { HTTPS_PROXY: "socks5://u:secret@p:1" });
  assert.ok(wrong.is === "mistakes");
  assert.match(wrong.mistakes.join(), /^read HTTPS_PROXY: it is not the URL of a proxy/);
});

test("parseDaemonRun prints help that names every flag with its variable", () => {
  assert.equal(parseDaemonRun(["--help"], {}).is, "help");
  assert.match(
    helpText,
    /--socket <path> +socket of the API, .* \(env: BPFLEET_SOCKET; usually \/run\/bpfd\/bpfleet\.sock\)/,
  );
});
