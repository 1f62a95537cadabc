import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { NamePattern } from "../policy.ts";
import { nameClassOf } from "../table/name-automaton.ts";
import { Names, TooManyNamesError } from "./names.ts";

/** As people read patterns: label by label. */
function matches({ is, text }: NamePattern, name: string): boolean {
  if (is === "name") return name === text;
  if (text === "*" || text === "**") return true;
  const part = (source: string): string => source.replaceAll(".", "\\.").replaceAll(/\*+/g, "[-_a-z0-9]*");
  const source = text.startsWith("**.") ? `[-_a-z0-9]+(\\.[-_a-z0-9]+)*${part(text.slice(2))}` : part(text);
  return new RegExp(`^${source}$`).test(name);
}

const label = fc.string({ unit: fc.constantFrom("a", "b", "1", "-"), minLength: 1, maxLength: 4 });
const name = fc.array(label, { minLength: 1, maxLength: 4 }).map((labels) => labels.join("."));
const starred = fc.string({ unit: fc.constantFrom("a", "b", "*"), minLength: 1, maxLength: 4 });
const pattern = fc.oneof(
  name.map((text): NamePattern => ({ is: "name", text })),
  fc
    .tuple(fc.boolean(), fc.array(fc.oneof(label, starred), { minLength: 1, maxLength: 3 }))
    .map(([isDeep, labels]): NamePattern => ({ is: "pattern", text: `${isDeep ? "**." : ""}${labels.join(".")}` })),
  fc.constantFrom<NamePattern>({ is: "pattern", text: "*" }, { is: "pattern", text: "**" }),
);

test("compileNames tells of every name which patterns match it", () => {
  fc.assert(
    fc.property(
      fc.array(pattern, { minLength: 1, maxLength: 6 }),
      fc.array(name, { maxLength: 20 }),
      (patterns, some) => {
        const names = new Names();
        const numbers = patterns.map((each, at) => (at % 2 === 0 ? names.peer(each) : names.set([each])));
        const { automaton, patternsOf } = names.compile(10_000);
        const asked = [
          ...some,
          ...patterns.flatMap(({ text }) => [text.replaceAll("*", ""), text.replaceAll("*", "a")]),
        ];
        for (const each of asked.filter((text) => /^[-_a-z0-9]+(\.[-_a-z0-9]+)*$/.test(text))) {
          const is = nameClassOf(automaton.states, each);
          const found = patternsOf[is] ?? [];
          for (const [at, wanted] of patterns.entries()) {
            const number = at % 2 === 0 ? (numbers[at] ?? 0) : (names.sets[numbers[at] ?? 0]?.[0] ?? 0);
            assert.equal(found.includes(number), matches(wanted, each), `${wanted.text} ${each}`);
          }
          const isOfPeer = patterns.some((wanted, at) => at % 2 === 0 && matches(wanted, each));
          assert.equal(is > 0 && is <= automaton.peerClasses, isOfPeer);
        }
      },
    ),
    { numRuns: 500 },
  );
});

test("compileNames refuses more states than there may be", () => {
  const names = new Names();
  for (let at = 0; at < 100; at++) names.peer({ is: "name", text: `host-${at}.example.org` });
  assert.throws(() => names.compile(1000), TooManyNamesError);
  names.compile(2000);
});

test("compileNames of an empty list has no name in any class", () => {
  const names = new Names();
  assert.equal(names.isUsed, false);
  assert.deepEqual(names.sets[names.set([])], []);
  assert.equal(names.isUsed, true);
  const { automaton, patternsOf } = names.compile(10);
  assert.equal(nameClassOf(automaton.states, "a.test"), 0);
  assert.deepEqual([automaton.peerClasses, automaton.classCount, patternsOf], [0, 1, [[]]]);
});
