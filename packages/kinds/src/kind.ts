import type { Clock, Issue, ObjectMeta, ObjectRef, Result } from "@bpfleet/base";
import type { InstanceCounters, Intent } from "@bpfleet/features";
import type { InterfaceFacts, ItemResult, NodePlan, PlanProblem } from "@bpfleet/kernel";
import type { FleetOutcome } from "./aggregate.ts";

export type { ObjectMeta, OwnerReference } from "@bpfleet/base";

/** Any object as the API server would hand it out. */
export interface KubeObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: ObjectMeta;
  readonly spec?: unknown;
  readonly status?: unknown;
}

/** A parsed object of one kind with the place of each of its fields in the text, where there is a text. */
export interface Parsed<T extends KubeObject = KubeObject> {
  readonly object: T;
  readonly ref: ObjectRef;
  /** Position of a JSON pointer in the source text. */
  readonly positionOf: (path: string) => Issue["position"];
  /** Paths of fields that nobody knows, in rules: those must let nothing pass. */
  readonly unknown?: readonly string[];
}

/** The other objects that lowering may look at. */
export interface ResourceView {
  find(ref: ObjectRef): Parsed | undefined;
  list(group: string, kind: string, namespace?: string): readonly Parsed[];
  /** The node that is lowered for. */
  readonly node: NodeView;
}

export interface NodeView {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The addresses of type InternalIP that the v1 Node object names. */
  readonly internalIps: readonly string[];
}

export interface Lowered {
  readonly intents: readonly Intent[];
  readonly problems: readonly PlanProblem[];
}

/** https://github.com/kubernetes/community/blob/master/contributors/devel/sig-architecture/api-conventions.md#typical-status-properties */
export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly observedGeneration?: number;
}

/** An object that its kind refuses: any field of it may be anything. */
export interface RefusedObject {
  readonly object: KubeObject;
  readonly ref: ObjectRef;
  readonly positionOf: Parsed["positionOf"];
}

/** What holds in place of an object that is refused. */
export interface Closing {
  readonly intents: readonly Intent[];
  /** What that means for whoever wrote the object, after a semicolon. */
  readonly so: string;
}

/** All that is known of what one object became on this node. */
export interface Outcome {
  readonly nodeName: string;
  readonly problems: readonly PlanProblem[];
  /** Results of the plan items that the object owns. */
  readonly items: readonly ItemResult[];
  readonly plan: NodePlan;
  readonly counters: readonly InstanceCounters[];
  /** Of all features: the reasons in `counters` that let a packet pass. */
  readonly passReasons: readonly string[];
  readonly interfaces: readonly InterfaceFacts[];
  readonly isPaused: boolean;
  /** Number of entries in the object's map, when it is one. */
  readonly entryCount?: number | undefined;
  /** Bytes of kernel memory that the map takes, where the kernel tells. */
  readonly memoryBytes?: number | undefined;
  readonly previousStatus: unknown;
  readonly clock: Clock;
}

/** One column of `kubectl get`, of `ebpfctl get` and of the dashboard. */
export interface Column {
  readonly name: string;
  /** JSONPath as in additionalPrinterColumns. */
  readonly jsonPath: string;
  readonly type: "string" | "integer" | "date" | "boolean";
  /** 0 shows always; 1 with `-o wide`. */
  readonly priority: 0 | 1;
  readonly description: string;
}

/** One API kind: what people may write, what it means, and what they are told. */
export interface Kind<T extends KubeObject = KubeObject> {
  readonly group: string;
  readonly version: string;
  readonly kind: string;
  readonly plural: string;
  readonly singular: string;
  readonly shortNames: readonly string[];
  readonly scope: "Namespaced" | "Cluster";
  readonly columns: readonly Column[];
  /** One sentence for the reference page and the CRD. */
  readonly description: string;
  /** Parses, prunes unknown fields (each a warning), defaults and validates; all issues at once. */
  parse(value: unknown, positionOf?: Parsed["positionOf"]): Result<Parsed<T>>;
  lower(parsed: Parsed<T>, view: ResourceView): Lowered;
  /**
   * For objects that say who may talk to whom: what cannot be enforced must not let pass what it would not. Never
   * throws. `undefined`: without the object nothing is open that it would close.
   */
  closeRefused(refused: RefusedObject): Closing | undefined;
  status(parsed: Parsed<T>, outcome: Outcome): unknown;
  /** The status on all nodes. The object may be without its spec; equal outcomes make equal statuses. */
  aggregate(object: KubeObject, fleet: FleetOutcome): unknown;
  /**
   * Objects that are made of this one on this node, with their status; whoever keeps them adds uid and versions.
   * `outcomeFor` is the outcome with the previous status of the object that is made.
   */
  generate(parsed: Parsed<T>, outcomeFor: (ref: ObjectRef) => Outcome): readonly KubeObject[];
  /** The kind of which objects of this kind are made: people write that one, and only read this one. */
  readonly madeFrom: string | undefined;
  /** The CustomResourceDefinition; undefined for kinds that Kubernetes itself defines. */
  crd(): unknown;
}
