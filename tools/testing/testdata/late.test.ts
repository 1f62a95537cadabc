import { test } from "node:test";

test("ends before its timer fails", () => {
  setTimeout(() => {
    throw new Error("too late");
  }, 5);
});
