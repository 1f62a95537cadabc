import assert from "node:assert/strict";
import { test } from "node:test";
import { shortenLists } from "./long-lists.ts";
import { parseManifest } from "./parse-manifest.ts";

const count = 3000;
const addresses = Array.from({ length: count }, (_, at) =>
  at % 3 === 0 ? `10.${at >> 8}.${at & 255}.0/24` : at % 3 === 1 ? `2001:db8:${at.toString(16)}::/48` : `${at}`,
);

function manifest(list: string): string {
  return `apiVersion: v1\nkind: A\nmetadata: { name: a }\nspec:\n  ips:\n${list}  after: 1\n`;
}

function lines(lead: string, values: readonly string[]): string {
  return values.map((value) => `${lead}${value}\n`).join("");
}

/** A comment in every line keeps a list from being long. */
function readSlowly(text: string): ReturnType<typeof parseManifest> {
  const slow = text.replaceAll(/^( *- [\da-fA-F.:/]+)$/gm, "$1 #");
  assert.equal(shortenLists(slow), undefined);
  return parseManifest(slow, "f");
}

test("parseManifest reads long lists as it reads short ones: values, lines and columns", () => {
  const texts = [
    manifest(lines("    - ", addresses)),
    manifest(lines("  - ", addresses)),
    manifest(`    - x\n${lines("    - ", addresses)}    - "y"\n    # told\n${lines("    - ", addresses)}`),
    manifest(`    - ${lines("      - ", addresses).trimStart()}`),
    `${manifest(lines("    - ", addresses))}---\n${manifest(lines("    - ", addresses.toReversed()))}`,
  ];
  for (const text of texts) {
    assert.ok(shortenLists(text) !== undefined);
    assert.equal(shortenLists(text)?.text.length, text.length);
    const [fast, slow] = [parseManifest(text, "f"), readSlowly(text)];
    assert.deepEqual(
      fast.issues.map(({ message }) => message),
      slow.issues.map(({ message }) => message),
    );
    assert.deepEqual(
      fast.objects.map(({ value }) => value),
      slow.objects.map(({ value }) => value),
    );
    for (const [index, { positionOf }] of fast.objects.entries()) {
      for (const path of ["/spec/ips/0", "/spec/ips/1", "/spec/ips/2000", `/spec/ips/${count - 1}`, "/spec/after"])
        assert.equal(positionOf(path).line, slow.objects[index]?.positionOf(path).line, path);
    }
  }
});

test("parseManifest leaves alone what only looks like a long list", () => {
  const inText = `apiVersion: v1\nkind: A\nmetadata: { name: a }\nspec: |\n${lines("  - ", addresses)}`;
  assert.equal(parseManifest(inText, "f").objects[0]?.value["spec"], lines("- ", addresses));
  const continued = `apiVersion: v1\nkind: A\nspec: word\n${lines("  - ", addresses)}`;
  assert.equal(
    parseManifest(continued, "f").objects[0]?.value["spec"],
    `word ${lines("- ", addresses).trim().replaceAll("\n", " ")}`,
  );
});

test("parseManifest lets the last word of a long list go on in the next line", () => {
  const text = manifest(`${lines("    - ", addresses)}      goes on\n`);
  const spec = parseManifest(text, "f").objects[0]?.value["spec"] as { readonly ips: readonly string[] };
  assert.equal(spec.ips.length, count);
  assert.equal(spec.ips.at(-1), `${addresses.at(-1)} goes on`);
});

test("parseManifest tells a number of a long list that cannot be kept, with its line", () => {
  const text = manifest(lines("    - ", addresses.with(1234, "99999999999999999999")));
  const [issue, ...others] = parseManifest(text, "f").issues;
  assert.equal(others.length, 0);
  assert.equal(issue?.path, "/spec/ips/1234");
  assert.equal(issue?.position?.line, 6 + 1234);
});
