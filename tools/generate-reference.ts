import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { errorCodes } from "@bpfleet/base";
import { apiVersionOf, kinds, listFields } from "@bpfleet/kinds";
import type { DefinedKind } from "@bpfleet/kinds";
import { settingKeys } from "@bpfleet/operator/desired";
import { kindFolder } from "./generate-crds.ts";

const header = "<!-- Made by tools/generate-reference.ts. Do not edit. -->\n\n";

/** docs/reference: a page for every kind, and the table of errors. */
export function generateReference(root: string): ReadonlyMap<string, string> {
  const pages = kinds.map((kind) => [`docs/reference/${kind.singular}.md`, header + renderKind(kind, root)] as const);
  return new Map([
    ...pages,
    ["docs/reference/bpfd-config.md", header + renderSettings()],
    ["docs/reference/errors.md", header + renderErrors()],
  ]);
}

function renderKind(kind: DefinedKind, root: string): string {
  const folder = join(root, kindFolder(kind));
  const readme = readFileSync(join(folder, "README.md"), "utf8").trimEnd();
  const { source } = kind;
  const parts = [readme, renderNames(kind)];
  const { specSchema, statusSchema } = source;
  if (source.isOurs && specSchema !== undefined) {
    parts.push(`## Fields of spec\n\n${renderFields(specSchema, "spec")}`);
    const rules = listFields(specSchema, "spec").flatMap((field) => field.rules);
    if (rules.length > 0)
      parts.push(`## Rules\n\n${rules.map((rule) => `- \`${rule.field}\` ${rule.message}`).join("\n")}`);
  }
  if (source.isOurs && statusSchema !== undefined)
    parts.push(`## Fields of status\n\n${renderFields(statusSchema, "status")}`);
  const conditions = Object.entries(source.conditions);
  if (conditions.length > 0) parts.push(`## Conditions\n\n${renderRows(["condition", "true when"], conditions)}`);
  const columns = kind.columns.map(({ name, description, priority, jsonPath }) => [
    `${name}${priority === 0 ? "" : " (wide)"}`,
    description,
    `\`${jsonPath}\``,
  ]);
  parts.push(`## Columns of get\n\n${renderRows(["column", "", "from"], columns)}`);
  const samples = join(folder, "samples");
  for (const file of readdirSync(samples).toSorted())
    parts.push(`## Sample: ${file}\n\n\`\`\`yaml\n${readFileSync(join(samples, file), "utf8")}\`\`\``);
  return `${parts.join("\n\n")}\n`;
}

function renderSettings(): string {
  const rows = Object.entries(settingKeys).map(([key, says]) => [`\`${key}\``, says]);
  return `# ConfigMap bpfd-config

What runs on the nodes. It is read from namespace kube-system, and from bpfd where there is none. A change rolls DaemonSet
\`bpfd-daemon\`; a mistake changes nothing and is an event of the ConfigMap. What a pod or container has as a structure is
written so here too, in YAML or JSON: \`bpfleet.tolerations: "[{key: dedicated, operator: Exists}]"\`.

${renderRows(["key", ""], rows)}
`;
}

function renderNames(kind: DefinedKind): string {
  const names = [kind.plural, kind.singular, ...kind.shortNames].filter((name, at, all) => all.indexOf(name) === at);
  return `## Names\n\n${renderRows(
    ["", ""],
    [
      ["apiVersion", `\`${apiVersionOf(kind)}\``],
      ["kind", `\`${kind.kind}\``],
      ["scope", kind.scope],
      ["on the command line", names.map((name) => `\`${name}\``).join(", ")],
    ],
  )}`;
}

function renderFields(schema: object, at: string): string {
  const rows = listFields(schema, at).map((field) => [
    `\`${field.path}\``,
    field.type,
    field.isRequired ? "required" : field.default,
    [field.description, field.limits].filter(Boolean).join(" "),
  ]);
  return renderRows(["field", "type", "default", ""], rows);
}

function renderErrors(): string {
  const rows = Object.entries(errorCodes).map(([code, { reason, hint, exitCode }]) => [
    `<a id="${code}"></a>\`${code}\``,
    reason,
    `${exitCode}`,
    hint,
  ]);
  return `# Errors\n\nWhat the kernel or the node may refuse. The reason stands in conditions and events, the exit code is that of \`ebpfctl\`.\n\n${renderRows(["code", "reason", "exit code", "what helps"], rows)}\n`;
}

function renderRows(heads: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
  return [line(heads), `|${"---|".repeat(heads.length)}`, ...rows.map(line)].join("\n");
}
