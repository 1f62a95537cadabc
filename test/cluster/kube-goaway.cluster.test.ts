import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import type { ApiError, ApiObject } from "@bpfleet/kube";
import { connectKube, createInformer, loadAccess } from "@bpfleet/kube-client";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer } from "./api-server.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const skip = whyNoBuild();
const configMaps = { group: "", version: "v1", plural: "configmaps", namespace: "default" };
const [writers, writes] = [8, 60];
/** A call that got stuck behind a watch would wait until its patience of 30 s ends. */
const slowestMs = 20_000;

interface ConfigMap extends ApiObject {
  readonly data?: Readonly<Record<string, string>>;
}

test(
  "KubeClient: no call and no watch is lost or stuck while the server asks to be left again and again",
  { skip },
  async () => {
    // Of a hundred requests two are answered with a GOAWAY, the most that an API server can be told.
    await using server = await startApiServer(buildControlPlane(), ["--goaway-chance=0.02"]);
    await using proxy = await TcpProxy.start(server.url);
    await using client = connectKube({ ...loadAccess({ env: {}, kubeconfig: server.kubeconfig }), server: proxy.url });
    const faults: ApiError[] = [];
    const informers = Array.from({ length: 4 }, () =>
      createInformer<ConfigMap>(client, { resource: configMaps, onFault: (error) => faults.push(error) }).start(),
    );
    await using _informers = {
      [Symbol.asyncDispose]: async () => void (await Promise.all(informers.map((informer) => informer.stop()))),
    };
    await Promise.all(informers.map((informer) => informer.synced(AbortSignal.timeout(60_000))));
    let longestMs = 0;
    const write = async (writer: number): Promise<void> => {
      for (let count = 0; count < writes; count++) {
        const begin = performance.now();
        const metadata = { name: `c-${writer}-${count % 7}`, namespace: "default" };
        const object = { apiVersion: "v1", kind: "ConfigMap", metadata, data: { v: String(count) } };
        await client.apply(configMaps, object, { fieldManager: "test" });
        if (count % 10 === 0) {
          const made = { ...object, metadata: { ...metadata, name: `made-${writer}-${count}` } };
          await client.create<ApiObject>(configMaps, made);
        }
        longestMs = Math.max(longestMs, performance.now() - begin);
      }
    };
    await Promise.all(Array.from({ length: writers }, (_, writer) => write(writer)));
    assert.ok(proxy.accepted > 3, `${proxy.accepted} connections: nobody asked to be left`);
    assert.ok(longestMs < slowestMs, `a call took ${longestMs} ms`);
    const { items } = await client.list<ConfigMap>(configMaps);
    const truth = new Map(items.map(({ metadata, data }) => [metadata.name, data?.["v"]]));
    const end = performance.now() + slowestMs;
    for (const informer of informers) {
      const copy = () => new Map(informer.list().map(({ metadata, data }) => [metadata.name, data?.["v"]]));
      while (performance.now() < end && !isDeepStrictEqual(copy(), truth))
        await new Promise((resolve) => setTimeout(resolve, 50));
      assert.deepEqual(copy(), truth);
    }
    assert.deepEqual(faults.map(String), []);
  },
);
