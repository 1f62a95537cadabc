import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { test } from "node:test";
import { issueLines, readAll } from "../testing/read-all.ts";
import { parseManifest } from "../yaml/parse-manifest.ts";

/** The YAML blocks of the documents, in their order, byte for byte, and what each is. */
const blocks = {
  "bpfd-on-ocp-1.yaml": { is: "applied as is", sample: "bpfprogramconfig" },
  "bpfd-on-ocp-2.yaml": { is: "output, malformed", sample: "bpfprogram" },
  "bpfd-operator-1.yaml": { is: "applied as is", sample: "ebpfprogramconfig" },
  "bpfd-operator-2.yaml": { is: "output, malformed", sample: "bpfdebpfprogram" },
} as const;

function read(path: string): string {
  return readFileSync(`${import.meta.dirname}/${path}`, "utf8");
}

test("documents have a row for each of their YAML blocks", () => {
  const files = globSync("testdata/*.yaml", { cwd: import.meta.dirname }).map((file) => basename(file));
  assert.deepEqual(files.toSorted(), Object.keys(blocks));
});

test("documents are applied as they are, and their outputs are ours", () => {
  for (const [file, { is, sample }] of Object.entries(blocks)) {
    const text = read(`testdata/${file}`);
    const ours = read(`${sample}/samples/xdp-pass-all-nodes.yaml`);
    if (is === "applied as is") {
      assert.equal(text, ours, file);
      assert.deepEqual(issueLines(text), []);
      assert.equal(readAll(text).lower().intents.length, 1);
      continue;
    }
    // All lines but the first stand two columns too far to the right.
    assert.equal(text.replaceAll(/^ {2}/gm, ""), ours, file);
    const { objects, issues } = parseManifest(text, file);
    assert.equal(objects.length, 0);
    assert.ok(issues.some(({ position }) => position?.line === 2));
    assert.deepEqual(issueLines(ours), []);
  }
});
