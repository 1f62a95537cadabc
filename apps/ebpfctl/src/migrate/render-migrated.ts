import { renderRef } from "@bpfleet/base";
import { parseManifest, renderYaml, type Parsed } from "@bpfleet/kinds";
import type { AdmittedObject } from "../manifests/admit-objects.ts";
import type { Migrated } from "./migrate-objects.ts";

/** The new object as YAML; above each rule stands what the old one said about it, in words and comments. */
export function renderMigrated(
  { object, rules, parsed }: Migrated,
  input: AdmittedObject["input"] | undefined,
): string {
  const yaml = renderYaml(object);
  const [manifest] = parseManifest(yaml, "").objects;
  const lines = yaml.split("\n");
  const above = new Map<number, string[]>();
  const told = new Set<string>();
  for (const { path, from } of rules) {
    if (manifest === undefined || told.has(from)) continue;
    told.add(from);
    const at = manifest.positionOf(path).line - 1;
    const indent = /^ */.exec(lines[at] ?? "")?.[0] ?? "";
    above.set(at, [...(above.get(at) ?? []), ...wordsOf(parsed, from, input).map((text) => `${indent}# ${text}`)]);
  }
  const place = parsed.positionOf("");
  const head = `# From ${renderRef(parsed.ref)}${place === undefined ? "" : ` (${place.file}:${place.line})`}`;
  return [head, ...lines.flatMap((line, at) => [...(above.get(at) ?? []), line])].join("\n");
}

/** The description of a rule, and the comments above and in it. */
function wordsOf(
  { object, positionOf }: Parsed,
  path: string,
  input: AdmittedObject["input"] | undefined,
): readonly string[] {
  const [, , direction = "", index = ""] = path.split("/");
  const { [direction as "ingress"]: list = [] } = object.spec as {
    readonly ingress?: readonly { readonly description?: string }[];
  };
  const description = list[Number(index)]?.description;
  const words = description === undefined ? [] : description.split("\n");
  const position = positionOf(path);
  if (position === undefined || input === undefined || input.source.isRendered) return words;
  const lines = input.text.split("\n");
  const start = position.line - input.source.line;
  return [...words, ...commentsAbove(lines, start), ...commentsFrom(lines, start)];
}

function commentsAbove(lines: readonly string[], start: number): readonly string[] {
  const above = lines.slice(0, start);
  const first = above.findLastIndex((line) => !/^\s*#/.test(line)) + 1;
  return above.slice(first).map(textOfComment);
}

/** Of all lines that are deeper than the one that begins, and of that one. */
function commentsFrom(lines: readonly string[], start: number): readonly string[] {
  const depth = /^ */.exec(lines[start] ?? "")?.[0].length ?? 0;
  const rest = lines.slice(start + 1);
  const length = rest.findIndex((line) => !/^\s*(?:#|$)/.test(line) && (/^ */.exec(line)?.[0].length ?? 0) <= depth);
  const own = [lines[start] ?? "", ...(length < 0 ? rest : rest.slice(0, length))];
  const last = own.findLastIndex((line) => !/^\s*(?:#|$)/.test(line));
  return own.slice(0, last + 1).flatMap((line) => {
    const comment = /(?:^|\s)#\s?(.*)$/.exec(
      line.replaceAll(/"(?:[^"\\]|\\.)*"|'(?:[^']|'')*'/g, (quoted) => "_".repeat(quoted.length)),
    );
    return comment === null ? [] : [textOfComment(line.slice(comment.index))];
  });
}

function textOfComment(line: string): string {
  return line.trim().replace(/^#\s?/, "");
}
