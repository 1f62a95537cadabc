import { readFileSync } from "node:fs";
import { join } from "node:path";

/** One line of the tables of docs/reference/lint.md. */
export interface LintRow {
  readonly line: number;
  readonly kind: string;
  readonly written: string;
  readonly said: readonly string[];
}

export interface LintPage {
  /** The objects beside which each is looked at. */
  readonly beside: string;
  readonly rows: readonly LintRow[];
}

interface Usual {
  readonly apiVersion: string;
  /** Where the object says nothing else. */
  readonly spec: Readonly<Record<string, string>>;
}

const web = "{matchLabels: {app: web}}";
const fos1 = "networking.fos1.io/v1alpha1";
const usual: Readonly<Record<string, Usual>> = {
  CiliumNetworkPolicy: { apiVersion: "cilium.io/v2", spec: { endpointSelector: web } },
  CiliumClusterwideNetworkPolicy: { apiVersion: "cilium.io/v2", spec: {} },
  NetworkPolicy: { apiVersion: "networking.k8s.io/v1", spec: { podSelector: web } },
  EBPFNetworkPolicy: { apiVersion: fos1, spec: { policyType: "filtering", selector: `{podSelector: ${web}}` } },
  EBPFContainerPolicy: { apiVersion: fos1, spec: { selector: `{podSelector: ${web}}` } },
  EBPFProgram: { apiVersion: fos1, spec: { type: "xdp", interface: "eth0" } },
  PodConfigMapConfig: { apiVersion: "podconfig.example.com/v1alpha1", spec: { podSelector: web } },
};

export function readLintPage(): LintPage {
  const text = readFileSync(join(import.meta.dirname, "../../docs/reference/lint.md"), "utf8");
  const [, beside = ""] = /^```yaml\n(.*?)^```$/ms.exec(text) ?? [];
  const rows = text.split("\n").flatMap((line, index): readonly LintRow[] => {
    const [, kind = "", written = "", said = ""] = /^\| (\w+) \| `(.+?)` \| (.+) \|$/.exec(line) ?? [];
    return usual[kind] === undefined ? [] : [{ line: index + 1, kind, written, said: said.split("<br>") }];
  });
  return { beside, rows };
}

/** As YAML of four lines. */
export function objectOf(kind: string, written: string, name = "p"): string {
  const { apiVersion, spec } = usual[kind] ?? { apiVersion: "", spec: {} };
  const metadata = `metadata: {name: ${name}${kind === "CiliumClusterwideNetworkPolicy" ? "" : ", namespace: shop"}}`;
  if (written.startsWith("specs: ")) return `apiVersion: ${apiVersion}\nkind: ${kind}\n${metadata}\n${written}\n`;
  const rest = Object.entries(spec).flatMap(([field, value]) =>
    new RegExp(`(?:^|, )${field}: `).test(written) ? [] : [`${field}: ${value}`],
  );
  return `apiVersion: ${apiVersion}
kind: ${kind}
${metadata}
spec: {${[...rest, written].join(", ")}}
`;
}
