import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import type { KubeObject } from "@bpfleet/kinds";

export type Labels = Readonly<Record<string, string>>;

interface NamespaceChange {
  readonly Namespace: string;
  readonly Labels: Labels;
}

interface PodChange extends NamespaceChange {
  readonly Pod: string;
}

/** One of these. */
export interface Action {
  readonly CreateNamespace?: NamespaceChange | null;
  readonly SetNamespaceLabels?: NamespaceChange | null;
  readonly DeleteNamespace?: Pick<NamespaceChange, "Namespace"> | null;
  readonly CreatePod?: PodChange | null;
  readonly SetPodLabels?: PodChange | null;
  readonly DeletePod?: Pick<PodChange, "Namespace" | "Pod"> | null;
}

export interface Step {
  readonly actions: readonly Action[];
  /** All that there are. */
  readonly policies: readonly KubeObject[];
  /** `x/a>y/b|TCP/80` */
  readonly expect: ReadonlyMap<string, "allowed" | "blocked">;
}

export interface Case {
  readonly description: string;
  readonly steps: readonly Step[];
}

export interface Conformance {
  readonly namespaces: Readonly<Record<string, Labels>>;
  readonly pods: readonly { readonly namespace: string; readonly name: string; readonly labels: Labels }[];
  readonly cases: readonly Case[];
}

interface Data {
  readonly namespaces: Conformance["namespaces"];
  readonly pods: readonly { readonly NS: string; readonly Name: string; readonly Labels: Labels }[];
  readonly cases: readonly {
    readonly description: string;
    readonly steps: readonly {
      readonly actions: readonly Action[] | null;
      readonly policiesAfter: readonly Partial<KubeObject>[] | null;
      readonly expect: Readonly<Record<string, "allowed" | "blocked">>;
    }[];
  }[];
}

/** The cases of test/conformance. */
export function readConformance(): Conformance {
  const file = join(import.meta.dirname, "../../conformance/network-policy-cases.json.gz");
  const { namespaces, pods, cases } = JSON.parse(gunzipSync(readFileSync(file)).toString()) as Data;
  return {
    namespaces,
    pods: pods.map(({ NS, Name, Labels: labels }) => ({ namespace: NS, name: Name, labels })),
    cases: cases.map(({ description, steps }) => ({
      description,
      steps: steps.map(({ actions, policiesAfter, expect }) => ({
        actions: actions ?? [],
        policies: (policiesAfter ?? []).map(wholePolicy),
        expect: new Map(Object.entries(expect)),
      })),
    })),
  };
}

/** Some of the data lack the type, as a patch does, and what an API server writes is in others. */
function wholePolicy({ metadata, spec }: Partial<KubeObject>): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: metadata?.name ?? "base", namespace: metadata?.namespace ?? "x" },
    spec,
  };
}

/** The same policy for pods that are known by their addresses of another family: blocks of addresses are those of the rig there. */
export function inFamily(policy: KubeObject, family: "ipv4" | "ipv6"): KubeObject {
  if (family === "ipv4") return policy;
  const toIpv6 = (_: string, quote: string, address: string, length: string): string =>
    address === "0.0.0.0"
      ? `${quote}::/${length}`
      : `${quote}fd00:192:168:1::${Number(address.split(".")[3]).toString(16)}/${Number(length) + 96}`;
  return JSON.parse(JSON.stringify(policy).replace(/(")(\d+\.\d+\.\d+\.\d+)\/(\d+)/g, toIpv6)) as KubeObject;
}
