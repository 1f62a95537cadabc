/** kubectl's JSONPath: steps, filters, ranges and quoted text. What it does not know is refused with its place. */
export class JsonPathError extends Error {
  override readonly name = "JsonPathError";
}

type Step =
  | { readonly step: "field"; readonly name: string }
  | { readonly step: "every" }
  | { readonly step: "deep"; readonly name: string }
  | { readonly step: "slice"; readonly from: number | undefined; readonly to: number | undefined }
  | { readonly step: "index"; readonly index: number }
  | {
      readonly step: "filter";
      readonly left: readonly Step[];
      readonly compare: string | undefined;
      readonly right: unknown;
    };

type Part =
  | { readonly part: "text"; readonly text: string }
  | { readonly part: "path"; readonly steps: readonly Step[] }
  | { readonly part: "range"; readonly steps: readonly Step[]; readonly parts: readonly Part[] };

/** The values that a path such as `.spec.type` or `{.status.conditions[?(@.type=="Ready")].status}` leads to. */
export function findByPath(path: string, value: unknown): readonly unknown[] {
  const bare = /^\{(.*)\}$/s.exec(path.trim())?.[1] ?? path.trim();
  return walk(parseSteps(bare), [value]);
}

/** The whole of `-o jsonpath=TEMPLATE`. */
export function renderTemplate(template: string, value: unknown): string {
  const trimmed = template.trim();
  const parts = parseTemplate(trimmed.startsWith("{") || trimmed.includes("{") ? template : `{${trimmed}}`);
  return renderParts(parts, value);
}

/** One value as kubectl prints it in a cell or a template. */
export function renderValue(value: unknown): string {
  if (value === undefined || value === null) return "";
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}

function renderParts(parts: readonly Part[], value: unknown): string {
  return parts
    .map((part) => {
      if (part.part === "text") return part.text;
      const found = walk(part.steps, [value]);
      if (part.part === "range") return found.map((item) => renderParts(part.parts, item)).join("");
      return found.map(renderValue).join(" ");
    })
    .join("");
}

function parseTemplate(template: string): readonly Part[] {
  const open: { steps: readonly Step[]; parts: Part[] }[] = [{ steps: [], parts: [] }];
  const add = (part: Part) => open.at(-1)?.parts.push(part);
  for (const [whole, text, inside] of template.matchAll(
    /([^{]+)|\{((?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^}"'])*)\}|\{/g,
  )) {
    if (text !== undefined) add({ part: "text", text });
    else if (inside === undefined)
      throw new JsonPathError(`read jsonpath: unclosed action ${template.slice(template.indexOf(whole))}`);
    else if (/^\s*["']/.test(inside)) add({ part: "text", text: unquote(inside.trim()) });
    else if (/^\s*end\s*$/.test(inside)) {
      const done = open.pop();
      if (done === undefined || open.length === 0) throw new JsonPathError("read jsonpath: {end} without {range}");
      add({ part: "range", ...done });
    } else if (/^\s*range\s/.test(inside))
      open.push({ steps: parseSteps(inside.replace(/^\s*range\s+/, "")), parts: [] });
    else add({ part: "path", steps: parseSteps(inside) });
  }
  if (open.length > 1) throw new JsonPathError("read jsonpath: {range} without {end}");
  return open[0]?.parts ?? [];
}

const stepForm =
  /^(?:\.\.([\w-]+)|\.?\[\s*(?:(\*)|'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|(-?\d*):(-?\d*)|(-?\d+)|\?\((.*?)\))\s*\]|\.(\*)|\.((?:[\w$/-]|\\\.)+))/;

function parseSteps(text: string): readonly Step[] {
  const steps: Step[] = [];
  let rest = text.trim().replace(/^[$@]/, "");
  if (rest !== "" && /^[\w]/.test(rest)) rest = `.${rest}`;
  while (rest !== "" && rest !== ".") {
    const match = stepForm.exec(rest);
    if (match === null)
      throw new JsonPathError(`read jsonpath: ${JSON.stringify(rest)} in ${JSON.stringify(text)} is not understood`);
    const [whole, deep, star, single, double, from, to, index, filter, dotStar, name] = match;
    if (deep !== undefined) steps.push({ step: "deep", name: deep });
    else if (star !== undefined || dotStar !== undefined) steps.push({ step: "every" });
    else if (filter !== undefined) steps.push(parseFilter(filter));
    else if (index !== undefined) steps.push({ step: "index", index: Number(index) });
    else if (from !== undefined) steps.push({ step: "slice", from: bound(from), to: bound(to ?? "") });
    else steps.push({ step: "field", name: (single ?? double ?? name ?? "").replaceAll(/\\(.)/g, "$1") });
    rest = rest.slice(whole.length);
  }
  return steps;
}

function bound(text: string): number | undefined {
  return text === "" ? undefined : Number(text);
}

function parseFilter(text: string): Step {
  const [, left = "", compare, right = ""] = /^\s*@?(.*?)\s*(?:(==|!=|<=|>=|<|>)\s*(.*?)\s*)?$/s.exec(text) ?? [];
  return {
    step: "filter",
    left: parseSteps(left),
    compare,
    right: compare === undefined ? undefined : parseLiteral(right),
  };
}

function parseLiteral(text: string): unknown {
  if (/^["']/.test(text)) return unquote(text);
  if (text === "true" || text === "false") return text === "true";
  if (text !== "" && Number.isFinite(Number(text))) return Number(text);
  throw new JsonPathError(`read jsonpath: ${JSON.stringify(text)} is no literal; put text in quotes`);
}

function unquote(text: string): string {
  const letters: Record<string, string> = { n: "\n", t: "\t", r: "\r" };
  return text.slice(1, -1).replaceAll(/\\(.)/gs, (_, letter: string) => letters[letter] ?? letter);
}

function walk(steps: readonly Step[], values: readonly unknown[]): readonly unknown[] {
  return steps.reduce<readonly unknown[]>((found, step) => found.flatMap((value) => take(step, value)), values);
}

function take(step: Step, value: unknown): readonly unknown[] {
  const items: readonly unknown[] = Array.isArray(value) ? value : [];
  const fields: Readonly<Record<string, unknown>> =
    typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
  switch (step.step) {
    case "field":
      return Object.hasOwn(fields, step.name) ? [fields[step.name]] : [];
    case "every":
      return [...items, ...Object.values(fields)];
    case "index":
      return step.index < items.length && -step.index <= items.length ? [items.at(step.index)] : [];
    case "slice":
      return items.slice(step.from, step.to);
    case "deep":
      return [
        ...take({ step: "field", name: step.name }, value),
        ...[...items, ...Object.values(fields)].flatMap((inner) => take(step, inner)),
      ];
    case "filter":
      return [...items, ...Object.values(fields)].filter((item) =>
        holds(step.compare, walk(step.left, [item])[0], step.right),
      );
  }
}

function holds(compare: string | undefined, left: unknown, right: unknown): boolean {
  if (left === undefined) return false;
  const [a, b] = typeof left === typeof right ? [left, right] : [renderValue(left), renderValue(right)];
  switch (compare) {
    case undefined:
      return true;
    case "==":
      return a === b;
    case "!=":
      return a !== b;
    case "<":
      return Number(a) < Number(b);
    case "<=":
      return Number(a) <= Number(b);
    case ">":
      return Number(a) > Number(b);
    default:
      return Number(a) >= Number(b);
  }
}
