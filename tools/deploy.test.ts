import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = join(import.meta.dirname, "..");

/** A machine on which is nothing but make and what a script takes for granted. */
function make(
  target: string,
  alsoThere: readonly string[] = [],
  words: readonly string[] = [],
): { readonly out: string; readonly errors: string; readonly status: number | null } {
  const bin = mkdtempSync(join(tmpdir(), "bpfleet-bare-"));
  try {
    for (const name of ["make", "sh", "dirname"]) {
      const [found = ""] = spawnSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).stdout.split("\n");
      symlinkSync(found, join(bin, name));
    }
    // Whoever ran them would fail.
    for (const name of alsoThere) symlinkSync("/bin/false", join(bin, name));
    const { stdout, stderr, status } = spawnSync(join(bin, "make"), [target, ...words], {
      cwd: root,
      env: { PATH: bin },
      encoding: "utf8",
    });
    return { out: stdout, errors: stderr, status };
  } finally {
    rmSync(bin, { recursive: true, force: true });
  }
}

for (const [targets, missing] of [
  [["install", "uninstall", "deploy", "undeploy", "run-on-cluster"], "kubectl"],
  [["run-on-kind", "kind-reload-images"], "kind"],
] as const)
  test(`make ${targets.join(", ")} say that ${missing} is missing before they install or build anything`, () => {
    for (const target of targets) {
      const { out, errors, status } = make(target);
      assert.match(errors, new RegExp(`^error: find ${missing}: not installed; get it from https://`), target);
      assert.deepEqual([out, status], ["", 2], target);
    }
  });

test("make deploy, build-images and others refuse what names no image before they install or build anything", () => {
  for (const target of [
    "build-images",
    "push-images",
    "deploy",
    "run-on-cluster",
    "run-on-kind",
    "kind-reload-images",
  ]) {
    const { out, errors, status } = make(target, ["kubectl", "kind"], ["BPFD_IMG=a b"]);
    assert.match(errors, /^error: use BPFD_IMG="a b": it names no image; write host\/repository:tag\n/, target);
    assert.deepEqual([out, status], ["", 2], target);
  }
  const named = spawnSync("sh", [join(root, "tools/deploy.sh"), "need-images"], {
    env: { PATH: process.env["PATH"], BPFD_IMG: "[::1]:5000/a/b_c.d-e:1.0", BPFD_AGENT_IMG: "" },
    encoding: "utf8",
  });
  assert.deepEqual([named.stderr, named.status], ["", 0]);
});

test("deploy.sh deploy refuses what names no image before it asks the cluster anything", () => {
  const bin = mkdtempSync(join(tmpdir(), "bpfleet-deploy-"));
  try {
    // Whoever asked it would fail otherwise.
    symlinkSync("/bin/false", join(bin, "kubectl"));
    const { stderr, status } = spawnSync("sh", [join(root, "tools/deploy.sh"), "deploy"], {
      env: { PATH: `${bin}:${process.env["PATH"]}`, BPFD_IMG: "a b" },
      encoding: "utf8",
    });
    assert.match(stderr, /^error: use BPFD_IMG="a b": read image reference "a b": .+ is no repository; [^\n]+\n$/);
    assert.equal(status, 1);
  } finally {
    rmSync(bin, { recursive: true, force: true });
  }
});
