import { canonicalJson, type Issue, type Position } from "@bpfleet/base";
import { parseManifest, renderYaml, type ManifestObject } from "@bpfleet/kinds";

/** Where the text of an object was cut from. */
export interface ObjectSource {
  readonly file: string;
  /** Line of `file` at which the text begins (1-based). */
  readonly line: number;
  /** The text was written anew, because the object shares its text with others: only `line` is true of the file. */
  readonly isRendered: boolean;
}

/** One object of a manifest with the text that is its own: comments, order and columns as the user wrote them. */
export interface CutObject {
  readonly manifest: ManifestObject;
  readonly text: string;
  readonly source: ObjectSource;
}

export interface CutManifest {
  readonly objects: readonly CutObject[];
  /** With positions in the whole file. */
  readonly issues: readonly Issue[];
}

/** Reads a manifest of any number of documents and lists, and gives each object a text of its own. */
export function cutManifest(content: string, file: string): CutManifest {
  const objects: CutObject[] = [];
  const issues: Issue[] = [];
  for (const part of splitDocuments(content)) {
    const source = { file, line: part.line, isRendered: false };
    const manifest = parseManifest(part.text, file);
    for (const issue of manifest.issues) issues.push({ ...issue, position: shiftPosition(issue.position, source) });
    const [only, ...others] = manifest.objects;
    if (only !== undefined && others.length === 0 && isWholeDocument(only, part.text)) {
      objects.push({ manifest: shifted(only, source), text: part.text, source });
    } else {
      for (const [at, object] of manifest.objects.entries())
        objects.push(cutOne(object, manifest.objects[at + 1], part, file));
    }
  }
  return { objects, issues };
}

/** Positions in a text become positions in the file that the text was cut from. */
export function shiftPosition(position: Position | undefined, source: ObjectSource): Position | undefined {
  if (position === undefined) return undefined;
  if (source.isRendered) return { file: source.file, line: source.line, column: 1 };
  return { file: source.file, line: position.line + source.line - 1, column: position.column };
}

interface DocumentText {
  readonly text: string;
  readonly line: number;
}

/** Cuts at `---` lines, as kubectl does; the marker stays with what follows it, so that columns are kept. */
function splitDocuments(content: string): readonly DocumentText[] {
  const documents: DocumentText[] = [];
  let part: string[] = [];
  let start = 1;
  const close = (next: number) => {
    if (part.some(hasContent)) documents.push({ text: `${part.join("\n")}\n`, line: start });
    part = [];
    start = next;
  };
  const lines = content.split("\n");
  if (lines.at(-1) === "") lines.pop();
  for (const [at, line] of lines.entries()) {
    if (/^---(\s|$)/.test(line) && part.length > 0) close(at + 1);
    part.push(line);
  }
  close(lines.length + 1);
  return documents;
}

/** Blank lines, comments, markers and directives say nothing by themselves. */
function hasContent(line: string): boolean {
  return !/^\uFEFF?(\s*(#.*)?|---\s*(#.*)?|\.\.\.\s*|%.*)$/.test(line);
}

/** Whether the object is the document itself, not an item of a list in it. */
function isWholeDocument(object: ManifestObject, text: string): boolean {
  const lines = text.split("\n");
  const first = lines.findIndex(hasContent);
  const column = (/^\uFEFF?(---)?\s*/.exec(lines[first] ?? "")?.[0].length ?? 0) + 1;
  const start = object.positionOf("");
  return start.line === first + 1 && start.column === column;
}

function cutOne(object: ManifestObject, next: ManifestObject | undefined, part: DocumentText, file: string): CutObject {
  const start = object.positionOf("");
  const end = next?.positionOf("");
  const source = { file, line: part.line + start.line - 1, isRendered: false };
  const text = cutText(part.text.split("\n"), start, end);
  const [again, ...others] = parseManifest(text, file).objects;
  const isExact =
    again !== undefined && others.length === 0 && canonicalJson(again.value) === canonicalJson(object.value);
  if (isExact) return { manifest: shifted(again, source), text, source };
  const rendered = { ...source, isRendered: true };
  return {
    manifest: shifted(object, { ...source, line: part.line }),
    text: renderYaml(object.value),
    source: rendered,
  };
}

/** The lines of one list item, with blanks in place of its dash: columns are kept. */
function cutText(lines: readonly string[], start: Position, end: Position | undefined): string {
  const last = end === undefined ? lines.length : end.line - 1;
  const [first = "", ...rest] = lines.slice(start.line - 1, Math.max(last, start.line));
  return `${[" ".repeat(start.column - 1) + first.slice(start.column - 1), ...rest].join("\n").trimEnd()}\n`;
}

function shifted(object: ManifestObject, source: ObjectSource): ManifestObject {
  return {
    ...object,
    positionOf: (path) =>
      shiftPosition(object.positionOf(path), source) ?? { file: source.file, line: source.line, column: 1 },
  };
}
