import assert from "node:assert/strict";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { generateSamples } from "./generate-samples.ts";

const root = join(import.meta.dirname, "..");

test("generateSamples leaves nothing in config/samples that it does not make, but for the README", () => {
  const made = [...generateSamples(root).keys()].map((path) => path.slice("config/samples/".length));
  const present = readdirSync(join(root, "config/samples")).filter((name) => name !== "README.md");
  assert.deepEqual(present.toSorted(), made.toSorted());
});
