import type { KubeObject } from "../../kind.ts";

/** What is to be let through that no rule allows. */
export interface EditWish {
  readonly direction: "ingress" | "egress";
  readonly peer: EditPeer;
  readonly carries: EditTraffic;
}

/** `cidr` is the peer's address alone. */
export type EditPeer =
  | {
      readonly is: "pod";
      readonly namespace: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly cidr: string;
    }
  | { readonly is: "this-node" | "node" | "world"; readonly cidr: string };

export type EditTraffic =
  | { readonly protocol: "TCP" | "UDP" | "SCTP"; readonly port: number }
  | { readonly protocol: "ICMP"; readonly family: 4 | 6; readonly type: number };

/** An object with one addition. */
export interface PolicyEdit {
  readonly object: KubeObject;
  /** JSON pointer of the list that grows, in the object before. */
  readonly path: string;
  /** What is added at its end. */
  readonly value: unknown;
}

/** Parts of an object that was found sound. */
export type Fields = Readonly<Record<string, unknown>>;

export function listAt(fields: Fields, name: string): readonly Fields[] {
  const list = fields[name];
  return Array.isArray(list) ? (list as readonly Fields[]) : [];
}

/** The object with `value` at the end of the list, which is made where it is not there. */
export function append(object: KubeObject, path: string, value: unknown): PolicyEdit {
  const edited = JSON.parse(JSON.stringify(object)) as KubeObject;
  const names = path.slice(1).split("/");
  const last = names.pop() ?? "";
  const holder = names.reduce<Record<string, unknown>>(
    (at, name) => at[name] as Record<string, unknown>,
    edited as unknown as Record<string, unknown>,
  );
  holder[last] = [...((holder[last] as readonly unknown[] | undefined) ?? []), value];
  return { object: edited, path, value };
}

/** What people tell workloads apart by, in this order; without it all that is not a controller's own. */
const telling = ["app.kubernetes.io/name", "app.kubernetes.io/component", "app", "k8s-app", "name", "role", "tier"];
const controllers =
  /^(pod-template-hash|controller-revision-hash|pod-template-generation|statefulset\.kubernetes\.io\/.*|apps\.kubernetes\.io\/pod-index|batch\.kubernetes\.io\/.*|job-name|controller-uid)$/;

export function tellingLabels(labels: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const own = Object.entries(labels).filter(([key]) => !controllers.test(key));
  const told = own.filter(([key]) => telling.includes(key));
  return Object.fromEntries(told.length > 0 ? told : own);
}
