import { isRecord, type Issue, type Position } from "@bpfleet/base";
import { findPlace, joinPointer, LineTable, placeOffset } from "./places.ts";
import type { Place } from "./places.ts";
import { readJson } from "./read-json.ts";
import { readYaml } from "./read-yaml.ts";
import type { ReadDocument } from "./read-yaml.ts";

/** One object of a manifest, as it was written: not pruned, defaulted or validated yet. */
export interface ManifestObject {
  readonly value: Readonly<Record<string, unknown>>;
  /** `""` when it names none; parsing its kind says so. */
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace: string | undefined;
  /** Position of a field by JSON pointer; of its nearest parent that is in the text. */
  readonly positionOf: (path: string) => Position;
}

export interface Manifest {
  readonly objects: readonly ManifestObject[];
  /** Whatever keeps part of the text from being read; an object with such a mistake is not among `objects`. */
  readonly issues: readonly Issue[];
}

/** Characters; an API server refuses a request of 3 MiB, a directory store may hold more. */
const maxLength = 32 * 1024 * 1024;

/** Reads YAML as kubectl does, or JSON: several documents, Lists taken apart, every mistake with its place. */
export function parseManifest(text: string, file: string): Manifest {
  if (text.length > maxLength) {
    const message = `read ${file}: ${text.length} characters are too many; split it into files of at most ${maxLength}`;
    return {
      objects: [],
      issues: [{ path: "", code: "too-large", severity: "error", message, position: { file, line: 1, column: 1 } }],
    };
  }
  const lines = new LineTable(text, file);
  const objects: ManifestObject[] = [];
  const issues: Issue[] = [];
  for (const document of readText(text)) {
    for (const fault of document.faults) {
      const { at, path, code, message } = fault;
      issues.push({ path, code, severity: "error", message, position: lines.positionOf(at) });
    }
    if (document.faults.length > 0 || document.value === null || document.value === undefined) continue;
    collect(document.value, document.place, lines, objects, issues);
  }
  return { objects, issues };
}

function readText(text: string): readonly ReadDocument[] {
  // YAML knows the mark itself; a blank in its place would indent the first line.
  const plain = text.startsWith("\uFEFF") ? ` ${text.slice(1)}` : text;
  return (/^\s*[[{]/.test(plain) ? readJson(plain) : undefined) ?? readYaml(text);
}

function collect(value: unknown, place: Place, lines: LineTable, objects: ManifestObject[], issues: Issue[]): void {
  const positionOf = (path: string): Position => lines.positionOf(placeOffset(findPlace(place, path)));
  if (!isRecord(value)) {
    const message = `is ${Array.isArray(value) ? "a list" : `"${String(value)}"`}, not an object with apiVersion and kind`;
    issues.push({ path: "", code: "type", severity: "error", message, position: positionOf("") });
    return;
  }
  const kind = text(value["kind"]);
  const items = value["items"];
  if (kind.endsWith("List") && Array.isArray(items)) {
    for (const [index, item] of items.entries())
      collect(item, findPlace(place, joinPointer("/items", index)), lines, objects, issues);
    return;
  }
  const metadata = isRecord(value["metadata"]) ? value["metadata"] : {};
  const namespace = text(metadata["namespace"]);
  objects.push({
    value,
    apiVersion: text(value["apiVersion"]),
    kind,
    name: text(metadata["name"]),
    namespace: namespace === "" ? undefined : namespace,
    positionOf,
  });
}

function text(value: unknown): string {
  return typeof value === "string" ? value : "";
}
