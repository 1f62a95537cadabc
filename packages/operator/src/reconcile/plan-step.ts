import { canonicalJson, fingerprint } from "@bpfleet/base";
import { compareResourceVersions, type AnyObject } from "@bpfleet/kube";
import { annotations, fieldManager } from "../desired/names.ts";
import type { Manifest } from "../desired/manifest.ts";
import { appliedFields, foreignFields, projectFields, type FieldSet } from "./owned-fields.ts";

/** What the server answered when the object was last applied. */
export interface Applied {
  /** Of what was wanted. */
  readonly wanted: string;
  readonly uid: string;
  readonly version: string;
  readonly fields: FieldSet;
  /** The values of these fields, as the server writes them. */
  readonly values: string;
}

export type Step =
  | { readonly do: "nothing" }
  | { readonly do: "apply"; readonly because: string }
  /** Somebody added what apply does not take away. */
  | { readonly do: "replace"; readonly because: string; readonly object: AnyObject }
  /** It is being deleted, or what is known of it is older than our own write: news is awaited. */
  | { readonly do: "wait" };

/**
 * What brings an object to what is wanted. Fields that the server or controllers fill in are nobody's edits: only what
 * we apply is compared, with what the server made of it, and what other managers own beside it.
 */
export function planStep(wanted: Manifest, live: AnyObject | undefined, applied: Applied | undefined): Step {
  if (live === undefined) return { do: "apply", because: "it is not there" };
  if (live.metadata.deletionTimestamp !== undefined) return { do: "wait" };
  if (applied === undefined) return { do: "apply", because: "it was not looked at yet" };
  if (applied.wanted !== wantedOf(wanted)) return { do: "apply", because: "what is wanted has changed" };
  if (isOlder(live, applied)) return { do: "wait" };
  if (applied.uid !== live.metadata.uid) return { do: "apply", because: "it is another object" };
  // First what apply would leave there, whatever else was edited.
  const added = addedFields(wanted, live, applied.fields);
  if (added.length > 0)
    return {
      do: "replace",
      because: `somebody added ${added.slice(0, 3).join(", ")}`,
      object: replacement(wanted, live),
    };
  if (projectFields(live, applied.fields) !== applied.values) return { do: "apply", because: "it was edited" };
  return { do: "nothing" };
}

/** What others have put beside the fields that we applied: an edit of one of these, which becomes theirs, is none. */
function addedFields(wanted: Manifest, live: AnyObject, own: FieldSet): readonly string[] {
  return foreignFields(live, fieldManager, rootsOf(wanted), own).filter((path) => !isAllowed(path));
}

/** To be kept after an apply, for the next look. */
export function rememberApplied(wanted: Manifest, answer: AnyObject): Applied {
  const fields = appliedFields(answer, fieldManager) ?? {};
  return {
    wanted: wantedOf(wanted),
    uid: answer.metadata.uid ?? "",
    version: answer.metadata.resourceVersion ?? "",
    fields,
    values: projectFields(answer, fields),
  };
}

function isOlder({ metadata }: AnyObject, { version }: Applied): boolean {
  return (compareResourceVersions(metadata.resourceVersion ?? "", version) ?? 0) < 0;
}

function wantedOf(wanted: Manifest): string {
  return fingerprint(canonicalJson(wanted));
}

/** Beside its metadata, where labels and annotations of others are theirs. */
function rootsOf(wanted: Manifest): readonly string[] {
  return Object.keys(wanted).filter((name) => name !== "apiVersion" && name !== "kind" && name !== "metadata");
}

/** `kubectl rollout restart` is no edit of what is declared. */
function isAllowed(path: string): boolean {
  return path === `spec.template.metadata.annotations.${annotations.restartedAt}`;
}

/** What is wanted in place of what is there, with the metadata that is not ours. */
export function replacement(wanted: Manifest, live: AnyObject): AnyObject {
  const { managedFields: _, ...metadata } = live.metadata;
  const object = {
    ...wanted,
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...wanted.metadata.labels },
      annotations: { ...metadata.annotations, ...wanted.metadata.annotations },
    },
  };
  const restarted = podAnnotation(live, annotations.restartedAt);
  return restarted === undefined ? object : withPodAnnotation(object, annotations.restartedAt, restarted);
}

interface WithTemplate {
  readonly spec?: {
    readonly template?: { readonly metadata?: { readonly annotations?: Readonly<Record<string, string>> } };
  };
}

function podAnnotation(object: AnyObject, name: string): string | undefined {
  return (object as WithTemplate).spec?.template?.metadata?.annotations?.[name];
}

function withPodAnnotation(object: AnyObject, name: string, value: string): AnyObject {
  const { spec } = object as WithTemplate;
  const metadata = { ...spec?.template?.metadata };
  const template = {
    ...spec?.template,
    metadata: { ...metadata, annotations: { ...metadata.annotations, [name]: value } },
  };
  return { ...object, spec: { ...spec, template } };
}
