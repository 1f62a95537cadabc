import { Document, visit } from "yaml";
import { resolvePlain } from "./scalars.ts";

/** YAML as `kubectl get -o yaml` prints it: keys sorted, lists not indented, text quoted only where it must be. */
export function renderYaml(value: unknown): string {
  const document = new Document(value, { sortMapEntries: byName, aliasDuplicateObjects: false });
  visit(document, {
    Scalar(_, node) {
      if (typeof node.value === "string" && isMistakable(node.value)) node.type = "QUOTE_DOUBLE";
    },
  });
  return document.toString({ indentSeq: false, lineWidth: 0 });
}

function isMistakable(text: string): boolean {
  const read = resolvePlain(text);
  return text === "<<" || !read.ok || read.value !== text;
}

function byName(a: { key: unknown }, b: { key: unknown }): number {
  const [left, right] = [keyText(a.key), keyText(b.key)];
  return left < right ? -1 : left > right ? 1 : 0;
}

function keyText(key: unknown): string {
  return typeof key === "object" && key !== null && "value" in key ? String(key.value) : String(key);
}
