import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { kinds } from "@bpfleet/kinds";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { documentBlocks } from "../../tools/documents/blocks.ts";
import { startApiServer } from "../cluster/api-server.ts";
import type { ApiServer } from "../cluster/api-server.ts";
import { installCrds } from "../cluster/install-crds.ts";

const root = join(import.meta.dirname, "../..");
const skip = whyNoBuild();
let server: ApiServer | undefined;

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  await installCrds(server, kinds);
});

after(() => server?.[Symbol.asyncDispose]());

function api(): ApiServer {
  return server ?? assert.fail("the API server does not run");
}

test("documents: kubectl applies every block that is applied as it stands, with strict validation", { skip }, () => {
  for (const { file } of documentBlocks.filter(({ state }) => state === "applied")) {
    const told = api().kubectl(["apply", "--validate=strict", "-f", join(root, file)]);
    assert.match(told, / created\n$/, file);
  }
});

test("documents: kubectl refuses the ServiceMonitor by its version", { skip }, () => {
  const { file } = documentBlocks.find(({ what }) => what.startsWith("ServiceMonitor")) ?? assert.fail();
  const text = readFileSync(join(root, file), "utf8");
  assert.throws(
    () => api().kubectl(["apply", "-f", "-"], text),
    /no matches for kind "ServiceMonitor" in version "v1"/,
  );
});
