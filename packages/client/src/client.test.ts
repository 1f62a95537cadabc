import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import {
  clusterSource,
  directorySource,
  findProgram,
  loadedProgram,
  mapPath,
  parseNodeProgram,
  SourceError,
  watchProgram,
} from "./mod.ts";

const uuid = "bdeac6d3-4128-464e-9161-6010684eca27";

function program(maps: Record<string, string>, type = "Loaded", version = "1"): object {
  return {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgram",
    metadata: { name: "counter-node", resourceVersion: version, labels: { owningConfig: "counter" } },
    spec: { programs: { [uuid]: { attachpoint: { interface: "eth0" }, maps } } },
    status: {
      conditions: [
        { type: "NotLoaded", message: "" },
        { type, message: "" },
      ],
    },
  };
}

function publish(directory: string, object: object): void {
  const folder = join(directory, "BpfProgram");
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, "new"), JSON.stringify(object));
  renameSync(join(folder, "new"), join(folder, "counter-node.json"));
}

function withDirectory(work: (directory: string) => Promise<void>): () => Promise<void> {
  return async () => {
    const directory = mkdtempSync(join(tmpdir(), "client-"));
    try {
      await work(directory);
    } finally {
      rmSync(directory, { recursive: true });
    }
  };
}

test("parseNodeProgram names the config by its owner, for a label may be cut", () => {
  const { metadata, ...rest } = program({}) as { readonly metadata: object };
  const ownerReferences = [{ apiVersion: "bpfd.io/v1alpha1", kind: "BpfProgramConfig", name: "whole", uid: "u" }];
  assert.equal(parseNodeProgram({ ...rest, metadata: { ...metadata, ownerReferences } }).config, "whole");
  assert.equal(parseNodeProgram({ ...rest, metadata }).config, "counter");
});

test(
  "findProgram reads what the node tells, and undefined where it tells nothing",
  withDirectory(async (directory) => {
    const options = { node: "node", source: directorySource(directory) };
    assert.equal(await findProgram("counter", options), undefined);
    publish(directory, program({ stats: "/pin" }));
    const found = await findProgram("counter", options);
    assert.deepEqual(found, {
      name: "counter-node",
      config: "counter",
      isLoaded: true,
      cause: undefined,
      instances: [{ uuid, maps: { stats: "/pin" } }],
    });
    writeFileSync(join(directory, "BpfProgram/counter-node.json"), "{");
    await assert.rejects(findProgram("counter", options), SourceError);
  }),
);

test(
  "loadedProgram waits until the program is loaded",
  withDirectory(async (directory) => {
    const signal = AbortSignal.timeout(10_000);
    const waiting = loadedProgram("counter", { node: "node", source: directorySource(directory), signal });
    publish(directory, program({}, "NotLoaded"));
    publish(directory, program({ stats: "/pin" }));
    assert.equal(mapPath(await waiting, "stats"), "/pin");
  }),
);

test(
  "watchProgram tells of another map at the same path",
  withDirectory(async (directory) => {
    const pin = join(directory, "stats");
    writeFileSync(pin, "");
    publish(directory, program({ stats: pin }));
    const source = directorySource(directory);
    const signal = AbortSignal.timeout(10_000);
    let told = 0;
    for await (const seen of watchProgram("counter", { node: "node", source, signal })) {
      assert.equal(seen?.isLoaded, true);
      if (++told === 2) return;
      writeFileSync(`${pin}.new`, "");
      renameSync(`${pin}.new`, pin);
    }
    assert.fail("the replaced pin was not told");
  }),
);

test("mapPath names the maps that there are, and wants one of several chosen", () => {
  const one = parseNodeProgram(program({ stats: "/pin" }));
  assert.throws(() => mapPath(one, "other"), /it has stats/);
  const two = { ...one, instances: [...one.instances, { uuid: "b", maps: { stats: "/other" } }] };
  assert.throws(() => mapPath(two, "stats"), /choose one/);
});

test("parseNodeProgram refuses what is no program", () => {
  for (const value of [null, 1, [], {}, { metadata: {} }, { metadata: { name: "x" }, spec: 1 }])
    assert.throws(() => parseNodeProgram(value), SyntaxError);
});

test("clusterSource reads and watches one program with a token, and says which role is missing", async () => {
  let current: object | undefined = program({}, "NotLoaded", "7");
  const watchers: ServerResponse[] = [];
  const asked: string[] = [];
  const server = createServer((request, response) => {
    asked.push(request.url ?? "");
    if (request.headers.authorization !== "Bearer secret") return void response.writeHead(403).end("forbidden");
    if (request.url?.includes("watch=true") === true) {
      watchers.push(response);
      response.writeHead(200).flushHeaders();
      return;
    }
    if (current === undefined) return void response.writeHead(404).end("{}");
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(current));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const stranger = clusterSource({ server: address, token: () => "wrong" });
    await assert.rejects(findProgram("counter", { node: "node", source: stranger }), /bpfd-bpfprogram-viewer/);
    const source = clusterSource({ server: address, token: () => "secret" });
    const ending = new AbortController();
    const seen: (boolean | undefined)[] = [];
    for await (const found of watchProgram("counter", { node: "node", source, signal: ending.signal })) {
      seen.push(found?.isLoaded);
      if (seen.length === 3) ending.abort();
      else {
        current = seen.length === 1 ? program({ stats: "/pin" }, "Loaded", "8") : undefined;
        const telling = setInterval(() => {
          if (watchers.length === 0) return;
          clearInterval(telling);
          for (const watcher of watchers.splice(0)) watcher.end('{"type":"MODIFIED","object":{}}\n');
        }, 5);
      }
    }
    assert.deepEqual(seen, [false, true, undefined]);
    assert.equal(asked[1], "/apis/bpfd.io/v1alpha1/bpfprograms/counter-node");
    assert.match(asked[2] ?? "", /fieldSelector=metadata.name%3Dcounter-node.*resourceVersion=7/);
  } finally {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});
