import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { PlainHeaders } from "./plain-headers.ts";

const name = fc.constantFrom("grpc-status", "Grpc-Status", "set-cookie", "a", "Content-Type", "x!", "");
const value = fc.oneof(fc.constantFrom("1", " a b\t", "", "\n", "x\ny", "\0", "\u00fc", "\u20ac"), fc.string());
const step = fc.oneof(
  fc.record({ do: fc.constantFrom("append" as const, "set" as const), name, value }),
  fc.record({ do: fc.constantFrom("delete" as const, "get" as const, "has" as const), name }),
);

test("PlainHeaders does what the Headers of Node do", () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), (steps) => {
      const [ours, theirs] = [new PlainHeaders(), new Headers()];
      for (const each of steps) {
        const run = (headers: PlainHeaders | Headers): unknown => {
          try {
            return "value" in each ? headers[each.do](each.name, each.value) : headers[each.do](each.name);
          } catch (error) {
            return error instanceof TypeError ? "TypeError" : error;
          }
        };
        assert.equal(run(ours), run(theirs), JSON.stringify(each));
      }
      const told = (headers: PlainHeaders | Headers): unknown => {
        const pairs: unknown[] = [];
        headers.forEach((text, key) => pairs.push([key, text]));
        return [pairs, [...headers], [...headers.keys()], [...headers.values()], headers.getSetCookie()];
      };
      assert.deepEqual(told(ours), told(theirs));
      assert.deepEqual(told(new PlainHeaders(ours)), told(new Headers([...theirs])));
    }),
    { numRuns: 500 },
  );
  assert.deepEqual([...new PlainHeaders({ B: "1", a: "2" })], [...new Headers({ B: "1", a: "2" })]);
});
