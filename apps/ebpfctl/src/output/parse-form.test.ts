import assert from "node:assert/strict";
import { test } from "node:test";
import { parseForm } from "./parse-form.ts";

test("parseForm says which forms there are for one that is not, and nothing of none", () => {
  assert.equal(parseForm("wide", "json", "wide"), "wide");
  assert.equal(parseForm(undefined, "json", "wide"), undefined);
  assert.throws(() => parseForm("yaml", "json", "wide"), {
    message: 'unable to match a printer suitable for the output format "yaml", allowed formats are: json|wide',
  });
});
