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

/** What is to be let through that a rule denies; of other protocols no rule tells more. */
export interface DeniedWish extends Omit<EditWish, "carries"> {
  readonly carries: EditTraffic | undefined;
}

/** An object with one change. */
export interface PolicyEdit {
  readonly object: KubeObject;
  readonly does: "add" | "add-before" | "take-out";
  /** JSON pointer in the object before: of what grows or shrinks; of add-before, of the item that comes to stand behind. */
  readonly path: string;
  /** What comes or goes, as it is written there. */
  readonly written: unknown;
  readonly patch: PatchStep;
}

export type PatchStep =
  | { readonly op: "add"; readonly path: string; readonly value: unknown }
  | { readonly op: "remove"; readonly path: string };

/** Parts of an object that was found sound. */
export type Fields = Readonly<Record<string, unknown>>;

export function listAt(fields: Fields, name: string): readonly Fields[] {
  const list = fields[name];
  return Array.isArray(list) ? (list as readonly Fields[]) : [];
}

/** What an object that was found sound has at a JSON pointer. */
export function fieldsAt(object: KubeObject, path: string): Fields {
  const [, ...names] = path.split("/");
  return names.reduce<Fields>((at, name) => (at[name] ?? {}) as Fields, object as unknown as Fields);
}

/** The object with `value` at the end of the list, which is made where it is not there. */
export function append(object: KubeObject, path: string, value: unknown): PolicyEdit {
  const { edited, holder, last } = copyOf(object, path);
  const list = holder[last];
  holder[last] = Array.isArray(list) ? [...(list as readonly unknown[]), value] : [value];
  const patch = Array.isArray(list)
    ? ({ op: "add", path: `${path}/-`, value } as const)
    : ({ op: "add", path, value: [value] } as const);
  return { object: edited, does: "add", path, written: [value], patch };
}

/** The object with `value` before the item of a list. */
export function insertBefore(object: KubeObject, path: string, value: unknown): PolicyEdit {
  const { edited, holder, last } = copyOf(object, path);
  (holder as unknown as unknown[]).splice(Number(last), 0, value);
  return { object: edited, does: "add-before", path, written: [value], patch: { op: "add", path, value } };
}

/** The object without an item of a list, or without a field. */
export function takeOut(object: KubeObject, path: string): PolicyEdit {
  const { edited, holder, last } = copyOf(object, path);
  const gone = holder[last];
  const isItem = Array.isArray(holder);
  if (isItem) holder.splice(Number(last), 1);
  else Reflect.deleteProperty(holder, last);
  return {
    object: edited,
    does: "take-out",
    path: path.slice(0, path.lastIndexOf("/")),
    written: isItem ? [gone] : { [last]: gone },
    patch: { op: "remove", path },
  };
}

interface Copy {
  readonly edited: KubeObject;
  /** What has the place, whose name or number there is `last`. */
  readonly holder: Record<string, unknown>;
  readonly last: string;
}

function copyOf(object: KubeObject, path: string): Copy {
  const edited = JSON.parse(JSON.stringify(object)) as KubeObject;
  const at = path.lastIndexOf("/");
  return { edited, holder: fieldsAt(edited, path.slice(0, at)), last: path.slice(at + 1) };
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
