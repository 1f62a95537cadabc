import { test } from "node:test";

test("is never told", () => {});
process.exit(3);
