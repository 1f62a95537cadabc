import assert from "node:assert/strict";
import { test } from "node:test";
import { refusal } from "@bpfleet/kube";
import { RefusedAccount } from "./refused-account.ts";

const unauthorized = refusal("get leases x", 401, { reason: "Unauthorized", code: 401 });

test("RefusedAccount says after a minute of refusals that the account is no more, and nothing once they end", () => {
  const account = new RefusedAccount();
  for (let at = 0; at < 60_000; at += 2000) {
    account.see(unauthorized, at);
    assert.equal(account.why(at), undefined);
  }
  account.see(unauthorized, 60_000);
  assert.match(account.why(62_000) ?? "", /has refused this pod's token for 62 s \(401\).+delete the pod/);
  assert.equal(account.why(95_000), undefined);
});

test("RefusedAccount does not count a token that is refused now and then, or a server that is away", () => {
  const account = new RefusedAccount();
  for (let at = 0; at < 600_000; at += 40_000) account.see(unauthorized, at);
  for (let at = 0; at < 600_000; at += 2000) account.see(refusal("get leases x", 503, {}), at);
  assert.equal(account.why(600_000), undefined);
});
