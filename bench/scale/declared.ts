import type { AnyObject, ResourceAddress } from "@bpfleet/kube";

/** What is declared to a simulated fleet. */
export type Collection = ResourceAddress;
export type Declared = AnyObject;

const [group, version, namespace] = ["networking.fos1.io", "v1alpha1", "default"] as const;

export const programs: Collection = { group, version, plural: "ebpfprograms", namespace };
export const maps: Collection = { group, version, plural: "ebpfmaps", namespace };
/** Kinds of which simulated agents tell when they have an object. */
export const declaredKinds: ReadonlySet<string> = new Set(["EBPFProgram", "EBPFMap"]);

export function declareProgram(name: string, address: string): Declared {
  const settings = { blacklist: { enabled: true, ips: [address] } };
  return declared("EBPFProgram", name, { type: "xdp", interface: "eth0", settings });
}

export function declareMap(name: string): Declared {
  return declared("EBPFMap", name, { type: "hash", keySize: 4, valueSize: 4, maxEntries: 8 });
}

function declared(kind: string, name: string, spec: object): Declared {
  return { apiVersion: `${group}/${version}`, kind, metadata: { name, namespace }, spec };
}
