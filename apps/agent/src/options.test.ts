import assert from "node:assert/strict";
import { test } from "node:test";
import { helpText, parseAgentRun } from "./options.ts";

test("parseAgentRun reads what the DaemonSet gives the agent", () => {
  const run = parseAgentRun([], {
    NODENAME: "n1",
    BPFLEET_SOCKET: "/run/bpfd/bpfleet.sock",
    BPFLEET_AGENT_SOCKET: "/run/bpfd-agent/bpfleet.sock",
    BPFLEET_TLS_DIR: "/etc/bpfleet/tls",
    BPFLEET_HEALTH_ADDR: "127.0.0.1:9092",
    BPFLEET_FOLLOW_CILIUM: "true",
    BPFLEET_FOLLOW_CALICO: "false",
    LOG_LEVEL: "debug",
  });
  assert.ok(run.is === "run");
  const { nodeName, planSocket, socket, health, directory, followsCilium, followsCalico, logLevel } = run.config;
  assert.deepEqual([nodeName, planSocket, logLevel], ["n1", "/run/bpfd/bpfleet-plan.sock", "debug"]);
  assert.equal(socket, "/run/bpfd-agent/bpfleet.sock");
  assert.deepEqual([health, directory], [{ host: "127.0.0.1", port: 9092 }, undefined]);
  assert.deepEqual([followsCilium, followsCalico], [true, false]);
});

test("parseAgentRun serves a directory where one is named", () => {
  const run = parseAgentRun(["--store", "/tmp/objects", "--state=/tmp/state", "--socket=/tmp/b.sock"], {});
  assert.ok(run.is === "run");
  assert.deepEqual(run.config.directory, { store: "/tmp/objects", state: "/tmp/state" });
  assert.equal(run.config.socket, "/tmp/b-agent.sock");
});

test("parseAgentRun names all mistakes at once", () => {
  const run = parseAgentRun(["--health-addr", "9092", "--log-level", "trace", "--once"], {});
  assert.ok(run.is === "mistakes");
  assert.equal(run.mistakes.length, 3);
  assert.equal(parseAgentRun(["-h"], {}).is, "help");
  assert.match(helpText, /--store <directory>/);
});
