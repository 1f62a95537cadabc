import assert from "node:assert/strict";
import { test } from "node:test";
import type { NodeFacts } from "@bpfleet/kernel";
import { cgroupAnnotation, kinds } from "@bpfleet/kinds";
import { acceptObject, isAccepted, type AcceptedObject } from "../compile.ts";
import { storedOf } from "./object-of-server.ts";
import { KubeletPods } from "./pod-cgroup-paths.ts";

interface PodWish {
  readonly name: string;
  readonly uid: string;
  readonly namespace?: string;
  readonly qosClass?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

function podOf({ name, uid, namespace = "shop", qosClass = "BestEffort", annotations }: PodWish): AcceptedObject {
  const metadata = { name, namespace, uid, ...(annotations && { annotations }) };
  const object = { apiVersion: "v1", kind: "Pod", metadata, spec: {}, status: { qosClass } };
  const accepted = acceptObject(storedOf({ group: "", kind: "Pod", namespace, name }, name, object), kinds);
  assert.ok(isAccepted(accepted), JSON.stringify(accepted));
  return accepted;
}

const factsWith = (...paths: readonly string[]): NodeFacts =>
  ({ cgroups: Object.fromEntries(paths.map((path, at) => [path, `${at}`])) }) as unknown as NodeFacts;

const cgroupOf = (objects: readonly AcceptedObject[]): readonly (string | undefined)[] =>
  objects.map(({ parsed }) => parsed.object.metadata.annotations?.[cgroupAnnotation]);

test("KubeletPods looks where both kinds of kubelets put pods of each class", () => {
  const pods = [
    podOf({ name: "a", uid: "11-22", qosClass: "Guaranteed" }),
    podOf({ name: "b", uid: "33-44", qosClass: "Burstable" }),
    podOf({ name: "c", uid: "55-66" }),
  ];
  const paths = new KubeletPods().candidates(pods);
  assert.equal(paths.length, 12);
  for (const path of [
    "kubepods/pod11-22",
    "kubepods/burstable/pod33-44",
    "kubepods.slice/kubepods-pod11_22.slice",
    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod55_66.slice",
    "kubelet/kubepods/besteffort/pod55-66",
    "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod33_44.slice",
  ])
    assert.ok(paths.includes(path), path);
});

test("KubeletPods gives each pod the cgroup that is there, and then looks for that style alone", () => {
  const places = new KubeletPods();
  const pods = [podOf({ name: "a", uid: "1" }), podOf({ name: "b", uid: "2", qosClass: "Burstable" })];
  const slice = "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod2.slice";
  assert.deepEqual(cgroupOf(places.place(pods, factsWith(slice))), [undefined, slice]);
  assert.deepEqual(places.candidates(pods), [
    "kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice",
    slice,
  ]);
  assert.notEqual(places.fingerprint(factsWith(slice)), places.fingerprint(factsWith()));
});

test("KubeletPods does not believe what a pod says of its own cgroup", () => {
  const places = new KubeletPods();
  const annotations = { [cgroupAnnotation]: "kubepods/besteffort/pod2", "kubernetes.io/config.mirror": "2" };
  const liar = podOf({ name: "a", uid: "1", annotations });
  const facts = factsWith("kubepods/besteffort/pod1", "kubepods/besteffort/pod2");
  assert.deepEqual(cgroupOf(places.place([liar], facts)), ["kubepods/besteffort/pod1"]);
  assert.deepEqual(cgroupOf(places.place([liar], factsWith("kubepods/besteffort/pod2"))), [undefined]);
  // Static pods of the cluster itself are known to the kubelet by the hash of their file.
  const mirror = podOf({ name: "m", uid: "9", namespace: "kube-system", annotations });
  assert.deepEqual(cgroupOf(places.place([mirror], facts)), ["kubepods/besteffort/pod2"]);
});

test("KubeletPods looks for the network namespaces of this node's pods by their cgroups, whatever pods say", () => {
  const pod = (name: string, spec: object): AcceptedObject => {
    const metadata = { name, namespace: "shop", uid: name, annotations: { "bpfleet.io/netns": "another" } };
    const object = { apiVersion: "v1", kind: "Pod", metadata, spec, status: { qosClass: "Burstable" } };
    const accepted = acceptObject(storedOf({ group: "", kind: "Pod", namespace: "shop", name }, name, object), kinds);
    assert.ok(isAccepted(accepted), JSON.stringify(accepted));
    return accepted;
  };
  const pods = [
    pod("here", { nodeName: "n1" }),
    pod("elsewhere", { nodeName: "n2" }),
    pod("host", { nodeName: "n1", hostNetwork: true }),
  ];
  const places = new KubeletPods();
  places.place(pods, factsWith("kubepods/burstable/podhere"));
  assert.deepEqual(places.endpoints(pods, "n1"), [
    {
      key: "here",
      pod: { namespace: "shop", name: "here", uids: ["here"] },
      cgroups: ["kubepods/burstable/podhere"],
    },
  ]);
});
