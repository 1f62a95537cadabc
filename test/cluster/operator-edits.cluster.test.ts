import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { AnyObject } from "@bpfleet/kube";
import { whyNoBuild } from "../../tools/build-control-plane.ts";
import { startFleetCluster, until, type FleetCluster, type RunningOperator } from "./fleet-cluster.ts";

const skip = whyNoBuild();
let cluster: FleetCluster;
let running: RunningOperator;

before(async () => {
  if (skip !== undefined) return;
  cluster = await startFleetCluster();
  running = await cluster.startOperator({ webhook: { host: "127.0.0.1", port: 0 } });
});

after(async () => {
  await running?.[Symbol.asyncDispose]();
  await cluster?.[Symbol.asyncDispose]();
});

/** Without what the API server counts. */
function contentOf({ metadata, ...rest }: AnyObject): string {
  const { labels, annotations, ownerReferences, finalizers } = metadata;
  return JSON.stringify({ ...rest, metadata: { labels, annotations, ownerReferences, finalizers } });
}

for (const [what, address, edits] of [
  [
    "the Service",
    { group: "", version: "v1", plural: "services", namespace: "kube-system", name: "bpfd-daemon" },
    [
      { op: "replace", path: "/spec/selector/name", value: "other" },
      { op: "add", path: "/spec/selector/more", value: "other" },
      { op: "add", path: "/spec/ports/-", value: { name: "extra", port: 99 } },
      { op: "replace", path: "/spec/ports/0/port", value: 99 },
      { op: "add", path: "/spec/externalIPs", value: ["203.0.113.7"] },
      { op: "replace", path: "/spec/ports", value: [{ port: 99 }] },
      { op: "remove", path: "/metadata/labels" },
    ],
  ],
  [
    "the daemons' configuration",
    { group: "", version: "v1", plural: "configmaps", namespace: "kube-system", name: "bpfd-daemon-config" },
    [
      { op: "replace", path: "/data/bpfd.toml", value: "[grpc.endpoint]\nport = 1\n" },
      { op: "add", path: "/data/extra", value: "1" },
      { op: "remove", path: "/data/bpfd.toml" },
      { op: "remove", path: "/data" },
      { op: "remove", path: "/metadata/labels" },
    ],
  ],
  [
    "the webhook's configuration",
    {
      group: "admissionregistration.k8s.io",
      version: "v1",
      plural: "validatingwebhookconfigurations",
      name: "bpfleet-webhook",
    },
    [
      { op: "replace", path: "/webhooks/0/failurePolicy", value: "Fail" },
      { op: "remove", path: "/webhooks/0/clientConfig/caBundle" },
      { op: "replace", path: "/webhooks/0/clientConfig/service/name", value: "other" },
      { op: "add", path: "/webhooks/0/namespaceSelector", value: { matchLabels: { a: "b" } } },
      { op: "remove", path: "/webhooks/0/rules/0" },
      { op: "remove", path: "/webhooks/0" },
    ],
  ],
] as const)
  test(
    `the operator undoes edits of ${what}: of fields, of what is added, and of what is removed`,
    { skip },
    async () => {
      const find = (): Promise<AnyObject | undefined> => cluster.admin.find<AnyObject>(address);
      const content = contentOf(await until(`there is ${what}`, find));
      for (const edit of edits) {
        const edited = await cluster.admin.patch<AnyObject>(address, [edit], { type: "json" });
        assert.notEqual(contentOf(edited), content, JSON.stringify(edit));
        await until(`${JSON.stringify(edit)} is undone`, async () => {
          const object = await find();
          return object !== undefined && contentOf(object) === content ? true : undefined;
        });
      }
    },
  );

test(
  "edits of the DaemonSet are undone by a leader that begins while ConfigMap bpfd-config is wrong",
  { skip },
  async () => {
    const kubeSystem = { version: "v1", namespace: "kube-system" } as const;
    const config = { ...kubeSystem, group: "", plural: "configmaps", name: "bpfd-config" };
    const set = { ...kubeSystem, group: "apps", plural: "daemonsets", name: "bpfd-daemon" };
    const configure = (data: Readonly<Record<string, string | null>>): Promise<AnyObject> =>
      cluster.admin.patch<AnyObject>(config, { data }, { type: "merge" });
    const setThat = (what: string, holds: (spec: string) => boolean): Promise<AnyObject> =>
      until(what, async () => {
        const found = await cluster.admin.find<AnyObject>(set);
        return found !== undefined && holds(JSON.stringify(found["spec"])) ? found : undefined;
      });
    const told = (): AnyObject[] => {
      const of = [
        "-n",
        "kube-system",
        "get",
        "events",
        "--field-selector=involvedObject.name=bpfd-config,reason=Invalid",
      ];
      return (JSON.parse(cluster.server.kubectl([...of, "-o", "json"])) as { items: AnyObject[] }).items;
    };
    const own = { "bpfleet.node-selector": "pool: edge", "bpfd.toml": '[interfaces.eth9]\nxdp_mode = "skb"\n' };
    await configure(own);
    const good = await setThat(
      "it is as configured",
      (spec) => spec.includes('"pool":"edge"') && spec.includes("BPFD_CONFIG"),
    );
    await running[Symbol.asyncDispose]();
    const before = told().length;
    await configure({ "bpfd.log.level": "loud", "bpfleet.node-selector": "pool: core" });
    const edits = [
      { op: "replace", path: "/spec/template/spec/nodeSelector/pool", value: "other" },
      { op: "replace", path: "/spec/template/spec/hostNetwork", value: false },
    ];
    await cluster.admin.patch(set, edits, { type: "json" });
    running = await cluster.startOperator({ identity: "operator-2", webhook: { host: "127.0.0.1", port: 0 } });
    await setThat("it is as it was", (spec) => spec === JSON.stringify(good["spec"]));
    await until("what is wrong is told", () => (told().length > before ? true : undefined));
    // Deleted, it is made anew, and no edit of the configuration that is remembered counts.
    const remembered = { ...config, name: "bpfd-daemon-config" };
    await cluster.admin.patch(remembered, { data: null }, { type: "merge" });
    await cluster.admin.delete(set);
    const again = await setThat("it is another one", (spec) => spec === JSON.stringify(good["spec"]));
    assert.notEqual(again.metadata.uid, good.metadata.uid);
    await until("the configuration is back", async () =>
      JSON.stringify((await cluster.admin.get<AnyObject>(remembered))["data"]).includes("eth9") ? true : undefined,
    );
    await configure({ "bpfd.log.level": null });
    await setThat("the ConfigMap counts again", (spec) => spec.includes('"pool":"core"'));
  },
);
