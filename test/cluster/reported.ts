import type { AnyObject } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { nodePrograms, until } from "./fleet-cluster.ts";

export const programs = {
  group: "networking.fos1.io",
  version: "v1alpha1",
  plural: "ebpfprograms",
  namespace: "default",
} as const;
export const configs = { group: "bpfd.io", version: "v1alpha1", plural: "bpfprogramconfigs" } as const;

export interface Reported extends AnyObject {
  readonly status?: {
    readonly state?: string;
    readonly nodes?: { readonly ready: number; readonly total: number };
    readonly metrics?: { readonly packetsDropped: number };
    readonly conditions?: readonly { readonly type: string; readonly status: string; readonly message: string }[];
  };
}

export function makeProgram(admin: KubeClient, name: string): Promise<AnyObject> {
  const object = {
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFProgram",
    metadata: { name, namespace: "default" },
    spec: { type: "xdp", interface: "eth0" },
  };
  return admin.create<AnyObject>(programs, object);
}

export function makeConfig(admin: KubeClient, name: string): Promise<AnyObject> {
  const spec = {
    name: "pass",
    type: "XDP",
    nodeselector: {},
    attachpoint: { networkmultiattach: { interface: "eth0", priority: 0 } },
    bytecode: "image://quay.io/bpfd-bytecode/xdp_pass:latest",
  };
  return admin.create<AnyObject>(configs, {
    apiVersion: "bpfd.io/v1alpha1",
    kind: "BpfProgramConfig",
    metadata: { name },
    spec,
  });
}

export function statusThat(
  admin: KubeClient,
  address: typeof programs | typeof configs,
  name: string,
  what: string,
  holds: (status: NonNullable<Reported["status"]>) => boolean,
): Promise<NonNullable<Reported["status"]>> {
  return until(what, async () => {
    const { status } = await admin.get<Reported>({ ...address, name });
    return status !== undefined && holds(status) ? status : undefined;
  });
}

/** What the agent says of a node's program that it can't unload. */
export async function failToUnload(admin: KubeClient, name: string): Promise<void> {
  const said = { type: "NotUnLoaded", status: "True", reason: "bpfdNotUnloaded", message: "m" };
  const conditions = [{ ...said, lastTransitionTime: "2026-01-01T00:00:00Z" }];
  const how = { type: "merge", subresource: "status" } as const;
  await admin.patch({ ...nodePrograms, name }, { status: { conditions } }, how);
}

export function typesOf({ conditions = [] }: NonNullable<Reported["status"]>): readonly string[] {
  return conditions.map(({ type }) => type);
}
