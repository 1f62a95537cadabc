import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { registryAbsence, RegistryBench, RegistryProcess, registryUser } from "@bpfleet/oci/testing";
import { buildLayer, composeImage } from "./image.ts";
import { pushImages } from "./push.ts";

const layer = buildLayer([{ kind: "file", path: "bin/tool", mode: 0o755, bytes: Buffer.from("tool\n") }]);
const image = (program: string) => composeImage([layer], { Entrypoint: [program] }, "amd64");

test(
  "pushImages puts images into a registry that asks for a password, as docker login keeps it",
  { skip: registryAbsence() ?? false },
  async () => {
    using bench = new RegistryBench();
    await using registry = await RegistryProcess.start(bench.directory, bench.tls, "basic");
    bench.mirror("images.example.com", [`https://${registry.host}`]);
    const named = [
      ["images.example.com/fleet/bpfd:1", image("/bin/bpfd")],
      ["images.example.com/fleet/bpfd-agent:1", image("/bin/agent")],
    ] as const;
    const env = { BPFLEET_REGISTRIES: bench.mirrors, DOCKER_CONFIG: bench.directory };
    await assert.rejects(pushImages(named, env), /images\.example\.com.*401|unauthorized|password/i);

    const auth = Buffer.from(`${registryUser.username}:${registryUser.password}`).toString("base64");
    writeFileSync(join(bench.directory, "config.json"), JSON.stringify({ auths: { [registry.host]: { auth } } }));
    const pushed = await pushImages(named, env);
    assert.deepEqual(
      pushed,
      named.map(([name, { digest }]) => `${name.replace(/:1$/, "")}@${digest}`),
    );
    assert.deepEqual(await pushImages(named, env), pushed);
  },
);

test("pushImages refuses names that nobody can push to, before it pushes anything", async () => {
  await assert.rejects(
    pushImages([["docker.io/library/bpfd:latest", image("/bin/bpfd")]], {}),
    /push docker\.io\/library\/bpfd:latest: only Docker's own images are there; name yours with BPFD_IMG/,
  );
});
