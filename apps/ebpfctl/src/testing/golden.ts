import assert from "node:assert/strict";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

const directory = join(import.meta.dirname, "../../testdata");

/** Compares with the file of that name in testdata/; UPDATE_GOLDEN=1 writes it. */
export function matchGolden(name: string, text: string): void {
  const path = join(directory, name);
  if (process.env["UPDATE_GOLDEN"] === "1") {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  assert.equal(text, readFileSync(path, "utf8"), `${name} differs; renew it with UPDATE_GOLDEN=1`);
}
