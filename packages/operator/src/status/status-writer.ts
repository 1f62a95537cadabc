import { canonicalJson, refKey, type Clock } from "@bpfleet/base";
import type { DefinedKind, FleetOutcome, KubeObject } from "@bpfleet/kinds";
import { compareResourceVersions, isApiError, type AnyObject, type ResourceType } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { isOfOthers } from "../desired/access.ts";
import { fieldManager } from "../desired/names.ts";
import { isOfSchema } from "../reconcile/refusal.ts";
import { bareStatus } from "./bare-status.ts";

/** What was last written of an object, so that an older copy of it, or what the server left out, is no difference. */
interface Written {
  readonly version: string;
  readonly sent: string;
  readonly kept: string;
  readonly status: unknown;
}

export interface StatusWriterOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly onWrite: (object: KubeObject) => void;
  /** A CRD of somebody else has no place for what is to be said. */
  readonly onRefused: (message: string) => void;
}

/** Writes the status of an object when, and only when, it is another. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #written = new Map<string, Written>();
  /** Kinds of which somebody else's CRD is installed: by the first write that was refused. */
  readonly #foreign = new Set<DefinedKind>();

  constructor(options: StatusWriterOptions) {
    this.#options = options;
  }

  /** True when something was written. */
  async write(
    kind: DefinedKind,
    type: ResourceType,
    object: AnyObject,
    outcome: Omit<FleetOutcome, "previousStatus" | "clock">,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { client, clock, onWrite, onRefused } = this.#options;
    const key = keyOf(kind, object);
    const { metadata } = object;
    const last = this.#written.get(key);
    const isBehind =
      last !== undefined && (compareResourceVersions(metadata.resourceVersion ?? "", last.version) ?? 0) < 0;
    const previousStatus = isBehind ? last.status : object["status"];
    const whole = kind.aggregate(object, { ...outcome, previousStatus, clock });
    if (whole === undefined) return false;
    const status = this.#foreign.has(kind) ? bareStatus(whole) : whole;
    const [sent, known] = [canonicalJson(status), canonicalJson(previousStatus)];
    if (sent === known || (last !== undefined && last.sent === sent && last.kept === known)) return false;
    const { name, namespace, uid } = metadata;
    try {
      const answer = await client.applyStatus<AnyObject>(
        { ...type, namespace, name },
        { apiVersion: object.apiVersion, kind: object.kind, metadata: { name, namespace, uid }, status } as AnyObject,
        { fieldManager, isForced: true, signal },
      );
      const kept = answer["status"];
      this.#written.set(key, {
        version: answer.metadata.resourceVersion ?? "",
        sent,
        kept: canonicalJson(kept),
        status: kept,
      });
    } catch (error) {
      // It is gone, or another of its name is there: its own event brings it back.
      if (isApiError(error) && (error.isNotFound || error.status === 409)) return false;
      if (isApiError(error) && error.status === 422) {
        this.#written.set(key, { version: metadata.resourceVersion ?? "", sent, kept: known, status: previousStatus });
        onRefused(error.message);
        return false;
      }
      if (!isOfSchema(error) || !isOfOthers(kind) || this.#foreign.has(kind)) throw error;
      this.#foreign.add(kind);
      return this.write(kind, type, object, outcome, signal);
    }
    onWrite(object);
    return true;
  }

  /** Takes back what is ours in the status of an object that somebody else serves now. True when there was something. */
  async withdraw(kind: DefinedKind, type: ResourceType, object: AnyObject, signal: AbortSignal): Promise<boolean> {
    const { client, onWrite } = this.#options;
    // A copy may be older than our last write.
    if (object["status"] === undefined && !this.#written.has(keyOf(kind, object))) return false;
    const { name, namespace } = object.metadata;
    const found = await client.find<AnyObject>({ ...type, namespace, name }, { signal });
    if (found === undefined || !hasOurStatus(found)) return false;
    const { uid } = found.metadata;
    try {
      await client.applyStatus<AnyObject>(
        { ...type, namespace, name },
        { apiVersion: found.apiVersion, kind: found.kind, metadata: { name, namespace, uid } },
        { fieldManager, isForced: true, signal },
      );
    } catch (error) {
      if (isApiError(error) && (error.isNotFound || error.status === 409)) return false;
      throw error;
    }
    this.forget(kind, found);
    onWrite(found);
    return true;
  }

  /** Whether the object is as our last write left it. */
  isOwn(kind: DefinedKind, object: AnyObject): boolean {
    return this.#written.get(keyOf(kind, object))?.version === object.metadata.resourceVersion;
  }

  forget(kind: DefinedKind, object: AnyObject): void {
    this.#written.delete(keyOf(kind, object));
  }

  /** The CRD is another: it may have a place for everything. */
  forgetSchema(kind: DefinedKind): void {
    this.#foreign.delete(kind);
  }
}

export function hasOurStatus({ metadata }: AnyObject): boolean {
  const { managedFields = [] } = metadata as {
    readonly managedFields?: readonly { readonly manager?: string; readonly subresource?: string }[];
  };
  return managedFields.some(({ manager, subresource }) => manager === fieldManager && subresource === "status");
}

function keyOf(kind: DefinedKind, { metadata }: AnyObject): string {
  return refKey({ group: kind.group, kind: kind.kind, namespace: metadata.namespace ?? "", name: metadata.name });
}
