import assert from "node:assert/strict";
import { test } from "node:test";
import { parseHookKey, placeOf, renderHookKey, type HookPoint } from "./hook-point.ts";

test("parseHookKey is the inverse of renderHookKey for what programs watch", () => {
  const member = "bytecode/a/0000/program";
  const points: readonly (readonly [HookPoint, string])[] = [
    [{ hook: "tracepoint", name: "syscalls/sys_enter_openat", member }, "syscalls/sys_enter_openat"],
    [{ hook: "raw_tracepoint", name: "sys_enter", member }, "sys_enter"],
    [{ hook: "kprobe", function: "do_exit", offset: 4, member }, "do_exit"],
    [{ hook: "kretprobe", function: "do_exit", offset: 0, member }, "do_exit"],
    [{ hook: "uprobe", binary: "/usr/lib/a:b+1.so", function: "read", offset: 16, member }, "/usr/lib/a:b+1.so"],
    [{ hook: "uretprobe", binary: "/bin/x", function: "", offset: 0, member }, "/bin/x"],
    [{ hook: "fentry", function: "do_exit", member }, "do_exit"],
    [{ hook: "fexit", function: "do_exit", member }, "do_exit"],
  ];
  for (const [point, place] of points) {
    assert.deepEqual(parseHookKey(renderHookKey(point)), point);
    assert.equal(placeOf(point), place);
  }
  for (const key of ["kprobe/x#m", "kprobe/+1#m", "uprobe/x+1#m", "uprobe/a:b+-1#m", "fentry/x", "nothing/x#m"])
    assert.equal(parseHookKey(key), undefined, key);
});
