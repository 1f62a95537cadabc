import assert from "node:assert/strict";
import { test } from "node:test";
import { isRefusal, refusal } from "./api-error.ts";

function refused(status: number): Error {
  return refusal("apply daemonsets.apps kube-system/bpfd-daemon", status, { code: status });
}

test("isRefusal is true of what was answered with no, not of what may be asked again as it is", () => {
  for (const status of [400, 403, 413, 422, 500]) assert.ok(isRefusal(refused(status)), String(status));
  for (const status of [401, 404, 409, 429, 503, 504]) assert.ok(!isRefusal(refused(status)), String(status));
});
