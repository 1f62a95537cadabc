import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { test } from "node:test";
import { KernelError } from "@bpfleet/base";
import { Failure, notFound, reportFailure, SilentFailure } from "./failure.ts";

function report(error: unknown, isVerbose = false): { exitCode: number; text: string } {
  let text = "";
  const exitCode = reportFailure(
    error,
    { write: (part) => (text += part), isTerminal: false, hasColor: false },
    isVerbose,
  );
  return { exitCode, text };
}

function thrownBy(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return assert.fail("it throws nothing");
}

test("reportFailure says what went wrong and what helps, in one line", () => {
  assert.deepEqual(report(new Failure("no")), { exitCode: 1, text: "error: no\n" });
  assert.deepEqual(report(new Failure("no", { exitCode: 2 })).exitCode, 2);
  assert.deepEqual(report(notFound("ebpfmaps", "x")).text, 'Error from server (NotFound): ebpfmaps "x" not found\n');
  assert.deepEqual(report(new SilentFailure(3)), { exitCode: 3, text: "" });
  const refused = new KernelError("attach x to eth0: not permitted (EPERM)", {
    code: "no-permission",
    call: "c",
    retry: "never",
  });
  assert.equal(
    report(refused).text,
    "error: attach x to eth0: not permitted (EPERM); run as root, or grant CAP_BPF, CAP_NET_ADMIN and CAP_SYS_ADMIN\n",
  );
  const system = thrownBy(() => mkdirSync("/proc/no/such/place"));
  assert.equal(report(system).text, "error: mkdir /proc/no/such/place: no such file or directory (ENOENT)\n");
  assert.match(report(new TypeError("oops")).text, /^error: oops; report it with the output of -v\n$/);
});

test("reportFailure tells the log and all causes when it is asked to", () => {
  const cause = new Error("the deeper reason");
  const rejected = new KernelError("load x: rejected", {
    code: "verifier",
    call: "BPF_PROG_LOAD",
    retry: "never",
    detail: "line 1\nline 2",
    cause,
  });
  const { text } = report(rejected, true);
  assert.match(text, /^line 1\nline 2$/m);
  assert.match(text, /^caused by: Error: the deeper reason$/m);
  assert.doesNotMatch(report(rejected).text, /line 2|deeper/);
});
