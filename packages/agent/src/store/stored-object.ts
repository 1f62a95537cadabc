import type { Issue, ObjectRef, Position } from "@bpfleet/base";
import type { KubeObject, ManifestObject } from "@bpfleet/kinds";
import type { ObjectSource } from "./cut-manifest.ts";

/** An object as the store holds it, whatever its kind thinks of it. */
export interface StoredObject {
  readonly ref: ObjectRef;
  /** Absolute path of the stored file. */
  readonly path: string;
  readonly object: KubeObject;
  /** The user's text. */
  readonly text: string;
  readonly source: ObjectSource;
  readonly positionOf: (path: string) => Position | undefined;
  /** Fingerprint of everything but type, metadata and status. */
  readonly spec: string;
}

/** A file of the store that is no object; the others keep working. */
export interface BrokenFile {
  readonly path: string;
  readonly issues: readonly Issue[];
}

export interface StoreSnapshot {
  /** By path. */
  readonly objects: readonly StoredObject[];
  readonly broken: readonly BrokenFile[];
}

/** The identity that a text gives its object; the issues say what is missing. */
export function identify(
  manifest: ManifestObject,
): { readonly ref: ObjectRef } | { readonly issues: readonly Issue[] } {
  const issues: Issue[] = [];
  const refuse = (path: string, code: string, message: string) =>
    issues.push({ path, code, message, severity: "error", position: manifest.positionOf(path) });
  const metadata = manifest.value["metadata"];
  if (manifest.apiVersion === "") refuse("/apiVersion", "required", "apiVersion: not set");
  if (manifest.kind === "") refuse("/kind", "required", "kind: not set");
  if (metadata !== undefined && (typeof metadata !== "object" || metadata === null || Array.isArray(metadata))) {
    refuse("/metadata", "type", "metadata: is no map of fields");
  } else if (manifest.name === "") refuse("/metadata/name", "required", "metadata.name: a name is required");
  if (issues.length > 0) return { issues };
  const slash = manifest.apiVersion.lastIndexOf("/");
  const group = slash === -1 ? "" : manifest.apiVersion.slice(0, slash);
  return { ref: { group, kind: manifest.kind, namespace: manifest.namespace ?? "", name: manifest.name } };
}

export function versionOf(apiVersion: string): string {
  return apiVersion.slice(apiVersion.lastIndexOf("/") + 1);
}
