import { canonicalJson, refKey, type Clock } from "@bpfleet/base";
import type { DefinedKind, FleetOutcome, KubeObject } from "@bpfleet/kinds";
import { compareResourceVersions, isApiError, type AnyObject, type ResourceType } from "@bpfleet/kube";
import type { KubeClient } from "@bpfleet/kube-client";
import { fieldManager } from "../desired/names.ts";

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
}

/** Writes the status of an object when, and only when, it is another. */
export class StatusWriter {
  readonly #options: StatusWriterOptions;
  readonly #written = new Map<string, Written>();

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
    const { client, clock, onWrite } = this.#options;
    const key = keyOf(kind, object);
    const { metadata } = object;
    const last = this.#written.get(key);
    const isBehind =
      last !== undefined && (compareResourceVersions(metadata.resourceVersion ?? "", last.version) ?? 0) < 0;
    const previousStatus = isBehind ? last.status : object["status"];
    const status = kind.aggregate(object, { ...outcome, previousStatus, clock });
    if (status === undefined) return false;
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
      throw error;
    }
    onWrite(object);
    return true;
  }

  /** Whether the object is as our last write left it. */
  isOwn(kind: DefinedKind, object: AnyObject): boolean {
    return this.#written.get(keyOf(kind, object))?.version === object.metadata.resourceVersion;
  }

  forget(kind: DefinedKind, object: AnyObject): void {
    this.#written.delete(keyOf(kind, object));
  }
}

function keyOf(kind: DefinedKind, { metadata }: AnyObject): string {
  return refKey({ group: kind.group, kind: kind.kind, namespace: metadata.namespace ?? "", name: metadata.name });
}
