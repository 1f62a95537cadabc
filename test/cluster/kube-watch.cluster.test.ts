import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import type { ApiError, ApiObject, CacheChange, ResourceAddress, WatchPolicy } from "@bpfleet/kube";
import { connectKube, createInformer, loadAccess } from "@bpfleet/kube-client";
import type { ClusterAccess, EventQuery, Informer, InformerOptions, KubeClient, StreamEnd } from "@bpfleet/kube-client";
import { buildControlPlane, whyNoBuild } from "../../tools/build-control-plane.ts";
import { startApiServer, type ApiServer } from "./api-server.ts";
import { TcpProxy } from "./tcp-proxy.ts";

const skip = whyNoBuild();
const configMaps = { group: "", version: "v1", plural: "configmaps" };
let server: ApiServer;
let access: ClusterAccess;
/** Past the proxy. */
let admin: KubeClient;
let namespace: string;
let count = 0;

interface ConfigMap extends ApiObject {
  readonly data?: Readonly<Record<string, string>>;
}

before(async () => {
  if (skip !== undefined) return;
  server = await startApiServer(buildControlPlane());
  access = loadAccess({ env: {}, kubeconfig: server.kubeconfig });
  admin = connectKube(access);
});

beforeEach(async () => {
  if (skip !== undefined) return;
  namespace = `watch-${(count += 1)}`;
  const metadata = { name: namespace };
  await admin.create<ApiObject>(
    { group: "", version: "v1", plural: "namespaces" },
    { apiVersion: "v1", kind: "Namespace", metadata },
  );
});

after(async () => {
  await admin?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

/** An informer on the namespace of this test, through a proxy, with all it tells. */
class Follower implements AsyncDisposable {
  readonly proxy: TcpProxy;
  readonly client: KubeClient;
  readonly informer: Informer<ConfigMap>;
  readonly changes: CacheChange<ConfigMap>[] = [];
  readonly faults: ApiError[] = [];
  readonly spy: ReturnType<typeof spied> | undefined;

  private constructor(
    proxy: TcpProxy,
    policy: Partial<WatchPolicy>,
    more: Partial<InformerOptions<ConfigMap>>,
    allowsHttp2: boolean,
    spy?: typeof spied,
  ) {
    this.proxy = proxy;
    this.client = connectKube({ ...access, server: proxy.url, allowsHttp2 });
    this.spy = spy?.(this.client);
    this.informer = createInformer<ConfigMap>(this.spy?.client ?? this.client, {
      resource: { ...configMaps, namespace },
      policy: { firstWaitMs: 50, longestWaitMs: 1000, ...policy },
      onFault: (error) => this.faults.push(error),
      ...more,
    });
    this.informer.onChange((change) => this.changes.push(change));
  }

  static async start(
    policy: Partial<WatchPolicy> = {},
    more: Partial<InformerOptions<ConfigMap>> = {},
    allowsHttp2 = true,
    spy?: typeof spied,
  ): Promise<Follower> {
    const follower = new Follower(await TcpProxy.start(server.url), policy, more, allowsHttp2, spy);
    follower.informer.start();
    await follower.informer.synced(AbortSignal.timeout(60_000));
    return follower;
  }

  told(): readonly string[] {
    return this.changes.map(({ type, object }) => `${type} ${object.metadata.name} ${object.data?.["v"] ?? ""}`);
  }

  async has(name: string, value: string | undefined): Promise<void> {
    await until(
      () => this.informer.get(namespace, name)?.data?.["v"] === value,
      () => `${name}=${value}: ${this.told().join()}`,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.informer.stop();
    await this.client[Symbol.asyncDispose]();
    await this.proxy[Symbol.asyncDispose]();
  }
}

async function write(name: string, value: string): Promise<void> {
  const object = { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace }, data: { v: value } };
  await admin.apply({ ...configMaps, namespace }, object, { fieldManager: "test", isForced: true });
}

async function remove(name: string): Promise<void> {
  await admin.delete({ ...configMaps, namespace, name });
}

async function until(isTrue: () => boolean, describe: () => string): Promise<void> {
  const end = performance.now() + 60_000;
  while (!isTrue()) {
    assert.ok(performance.now() < end, `not within a minute: ${describe()}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

for (const usesWatchList of [true, false]) {
  const how = usesWatchList ? "a stream of initial events" : "a list of pages";
  test(`Informer follows a collection from ${how} on, with the old and the new of each change`, { skip }, async () => {
    for (let index = 0; index < 7; index++) await write(`c${index}`, "1");
    await using follower = await Follower.start({ usesWatchList, pageSize: 3 });
    assert.equal(follower.informer.size, 7);
    await write("c0", "2");
    await follower.has("c0", "2");
    await remove("c1");
    await follower.has("c1", undefined);
    assert.deepEqual(follower.told().slice(7), ["updated c0 2", "deleted c1 1"]);
    const [updated, deleted] = follower.changes.slice(7);
    assert.ok(updated?.type === "updated" && updated.before.data?.["v"] === "1");
    assert.ok(deleted?.type === "deleted" && deleted.isLastState);
    assert.deepEqual(follower.faults, []);
  });
}

test(
  "Informer keeps what its transform leaves, finds by index, and tells who comes late what is there",
  { skip },
  async () => {
    await write("a", "x");
    await write("b", "y");
    await using follower = await Follower.start(
      {},
      {
        indexes: { value: (object) => Object.values(object.data ?? {}) },
        transform: (object) => ({ ...object, metadata: { ...object.metadata, managedFields: undefined } }),
      },
    );
    const { informer } = follower;
    assert.deepEqual(
      informer.byIndex("value", "y").map(({ metadata }) => metadata.name),
      ["b"],
    );
    assert.equal(informer.get(namespace, "a")?.metadata.managedFields, undefined);
    const late: string[] = [];
    informer.onChange(({ type, object }) => late.push(`${type} ${object.metadata.name}`));
    await until(
      () => late.length === 2,
      () => late.join(),
    );
    await write("b", "x");
    await until(
      () => informer.byIndex("value", "x").length === 2,
      () => "index",
    );
    await until(
      () => late.length === 3,
      () => late.join(),
    );
    assert.deepEqual(late.toSorted(), ["added a", "added b", "updated b"]);
  },
);

for (const allowsHttp2 of [true, false]) {
  const protocol = allowsHttp2 ? "HTTP/2" : "HTTP/1.1";
  test(`Informer goes on from where it was when its connection is cut (${protocol})`, { skip }, async () => {
    await write("a", "1");
    await using follower = await Follower.start({}, {}, allowsHttp2);
    follower.proxy.close();
    await write("a", "2");
    await write("b", "1");
    await remove("b");
    await write("c", "1");
    follower.proxy.open();
    await follower.has("c", "1");
    // Nothing in between was left out: it is the same history, not a new list.
    assert.deepEqual(follower.told(), ["added a 1", "updated a 2", "added b 1", "deleted b 1", "added c 1"]);
    assert.ok(follower.faults.length > 0);
    await until(
      () => follower.informer.fault === undefined,
      () => "a fault stays",
    );
  });

  test(`Informer leaves a connection on which nothing comes any more (${protocol})`, { skip }, async () => {
    await write("a", "1");
    await using follower = await Follower.start({ silenceMs: 1500 }, {}, allowsHttp2);
    follower.proxy.hold();
    await write("a", "2");
    await follower.has("a", "2");
    await write("b", "1");
    await follower.has("b", "1");
  });
}

test("Informer tells no fault of a collection in which nothing happens, and hears of what does", { skip }, async () => {
  await write("a", "1");
  // Before a minute is over a server says nothing, not even by a bookmark.
  await using follower = await Follower.start({ usesWatchList: false, silenceMs: 3000 }, {}, true, spied);
  const watches = (): number => follower.spy?.from.length ?? 0;
  await until(
    () => watches() > 2,
    () => `${watches()} watches`,
  );
  await write("a", "2");
  await follower.has("a", "2");
  assert.deepEqual(
    follower.faults.map(({ message }) => message),
    [],
  );
});

test("Informer begins anew when what it knew is forgotten, and tells what went meanwhile", { skip }, async () => {
  await write("stays", "1");
  await write("goes", "1");
  await write("remade", "1");
  await using follower = await Follower.start();
  follower.proxy.close();
  await remove("goes");
  await remove("remade");
  await write("remade", "2");
  await write("comes", "1");
  await server.compact();
  // The API server remembers what the store forgot; killed, it does not.
  await server.kill();
  await server.restart();
  follower.proxy.open();
  await follower.has("comes", "1");
  await until(
    () => follower.told().length === 7,
    () => follower.told().join(),
  );
  const told = follower.told().slice(3).toSorted();
  assert.deepEqual(told, ["added comes 1", "added remade 2", "deleted goes 1", "deleted remade 1"]);
  const gone = follower.changes.find(({ type, key }) => type === "deleted" && key.endsWith("/goes"));
  assert.ok(gone?.type === "deleted" && !gone.isLastState);
  assert.ok(
    follower.faults.some((fault) => fault.isExpired),
    follower.faults.join(),
  );
});

/** What a client asks watches to begin from, and the bookmarks that they bring. */
function spied(client: KubeClient): {
  readonly client: KubeClient;
  readonly from: string[];
  readonly bookmarks: string[];
} {
  const [from, bookmarks]: [string[], string[]] = [[], []];
  const readEvents = <T extends ApiObject>(address: ResourceAddress, options: EventQuery<T>): Promise<StreamEnd> => {
    const { query, onEvent } = options;
    from.push(query["sendInitialEvents"] === "true" ? "the beginning" : (query["resourceVersion"] ?? ""));
    return client.readEvents<T>(address, {
      ...options,
      onEvent: (type, object) => {
        if (type === "BOOKMARK") bookmarks.push(object.metadata.resourceVersion ?? "");
        return onEvent(type, object);
      },
    });
  };
  const proxied = new Proxy(client, {
    get: (target, name) => {
      if (name === "readEvents") return readEvents;
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
  return { client: proxied, from, bookmarks };
}

test(
  "Informer goes on from the last bookmark when its connection is cut, also over a compaction, and begins anew after 410",
  { skip },
  async () => {
    await write("a", "1");
    // Servers send a bookmark two seconds before a watch ends, and each minute.
    await using follower = await Follower.start({ shortestWatchSeconds: 4 }, {}, true, spied);
    const { from = [], bookmarks = [] } = follower.spy ?? {};
    const other = `${namespace}-other`;
    await admin.create<ApiObject>(
      { group: "", version: "v1", plural: "namespaces" },
      { apiVersion: "v1", kind: "Namespace", metadata: { name: other } },
    );
    /** Cuts the connection after a bookmark that knows of something that is not followed; how often was asked before. */
    const cutAfterBookmark = async (value: string): Promise<number> => {
      const object = {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: "x", namespace: other },
        data: { value },
      };
      const address = { ...configMaps, namespace: other };
      const { metadata } = await admin.apply<ApiObject>(address, object, { fieldManager: "test", isForced: true });
      await until(
        () => Number(bookmarks.at(-1)) >= Number(metadata.resourceVersion),
        () => `no bookmark of ${metadata.resourceVersion}: ${bookmarks.join()}`,
      );
      follower.proxy.close();
      return from.length;
    };
    let asked = await cutAfterBookmark("1");
    await server.compact();
    await write("b", "1");
    follower.proxy.open();
    await follower.has("b", "1");
    assert.ok(bookmarks.includes(from[asked] ?? ""), "it goes on there");
    assert.ok(!from.slice(asked).includes("the beginning"));
    assert.deepEqual(follower.told(), ["added a 1", "added b 1"]);
    assert.ok(!follower.faults.some((fault) => fault.isExpired), follower.faults.join());

    asked = await cutAfterBookmark("2");
    await remove("a");
    await write("c", "1");
    await server.compact();
    // The API server remembers what the store forgot; killed, it does not.
    await server.kill();
    await server.restart();
    follower.proxy.open();
    await follower.has("c", "1");
    await follower.has("a", undefined);
    assert.ok(bookmarks.includes(from[asked] ?? ""));
    assert.ok(from.slice(asked).includes("the beginning"));
    assert.ok(
      follower.faults.some((fault) => fault.isExpired),
      follower.faults.join(),
    );
    assert.deepEqual(follower.told().slice(2).toSorted(), ["added c 1", "deleted a 1"]);
  },
);

test("Informer outlives an API server that is killed and comes back", { skip }, async () => {
  await write("a", "1");
  await using follower = await Follower.start();
  await server.kill();
  await until(
    () => follower.informer.fault !== undefined,
    () => "no fault was told",
  );
  assert.equal(follower.informer.get(namespace, "a")?.data?.["v"], "1");
  await server.restart();
  await write("a", "2");
  await follower.has("a", "2");
  await until(
    () => follower.informer.fault === undefined,
    () => "a fault stays",
  );
  assert.deepEqual(follower.told(), ["added a 1", "updated a 2"]);
});

test("Informer waits for an API server that is slow, and for one that stands still", { skip }, async () => {
  await write("a", "1");
  await using follower = await Follower.start({ silenceMs: 3000 });
  follower.proxy.delay(700);
  await write("a", "2");
  await follower.has("a", "2");
  follower.proxy.delay(0);
  server.signal("SIGSTOP");
  await until(
    () => follower.informer.fault !== undefined,
    () => "no fault was told",
  );
  server.signal("SIGCONT");
  await write("a", "3");
  await follower.has("a", "3");
});

test("Informer goes on when what a role takes away is granted again", { skip }, async () => {
  const { ca = "" } = await access.credentials.current();
  server.kubectl(["-n", namespace, "create", "serviceaccount", "late"]);
  const authorization = `Bearer ${server.kubectl(["-n", namespace, "create", "token", "late"]).trim()}`;
  const credentials = { current: async () => ({ authorization, ca }), renew: async () => undefined };
  await using client = connectKube({ ...access, credentials });
  const faults: ApiError[] = [];
  await using informer = createInformer<ConfigMap>(client, {
    resource: { ...configMaps, namespace },
    policy: { firstWaitMs: 50, longestWaitMs: 200 },
    onFault: (error) => faults.push(error),
  }).start();
  await until(
    () => faults.length > 2,
    () => "no fault was told",
  );
  assert.ok(
    faults.every((fault) => fault.isForbidden),
    faults.join(),
  );
  assert.ok(!informer.isSynced);
  await write("a", "1");
  server.kubectl(["-n", namespace, "create", "role", "late", "--verb=list,watch", "--resource=configmaps"]);
  server.kubectl([
    "-n",
    namespace,
    "create",
    "rolebinding",
    "late",
    "--role=late",
    `--serviceaccount=${namespace}:late`,
  ]);
  await informer.synced(AbortSignal.timeout(60_000));
  assert.equal(informer.size, 1);
});

test("Informer that is stopped before its first list says so", { skip }, async () => {
  await using client = connectKube({ ...access, server: "https://127.0.0.1:1" });
  const informer = createInformer(client, { resource: configMaps }).start();
  const synced = informer.synced();
  await informer.stop();
  await assert.rejects(synced, /follow configmaps: stopped before the first list/);
});
