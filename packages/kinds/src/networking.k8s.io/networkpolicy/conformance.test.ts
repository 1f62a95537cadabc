import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { gunzipSync } from "node:zlib";
import type { Policy } from "@bpfleet/features";
import { compileWorld, mayConnect, type World, type WorldPacket } from "@bpfleet/features/testing";
import { findPolicy } from "../../policy/read-policy.ts";
import { networkPolicy } from "./networkpolicy.ts";

type Labels = Readonly<Record<string, string>>;

/** One of these. */
interface Action {
  readonly CreateNamespace?: { readonly Namespace: string; readonly Labels: Labels } | null;
  readonly SetNamespaceLabels?: { readonly Namespace: string; readonly Labels: Labels } | null;
  readonly CreatePod?: { readonly Namespace: string; readonly Pod: string; readonly Labels: Labels } | null;
  readonly SetPodLabels?: { readonly Namespace: string; readonly Pod: string; readonly Labels: Labels } | null;
}

interface Case {
  readonly description: string;
  readonly steps: readonly {
    readonly actions: readonly Action[] | null;
    readonly policiesAfter: readonly object[] | null;
    /** `x/a>y/b|TCP/80` → `allowed` or `blocked`. */
    readonly expect: Readonly<Record<string, string>>;
  }[];
}

const { namespaces, pods, cases } = JSON.parse(
  gunzipSync(
    readFileSync(join(import.meta.dirname, "../../../../../test/conformance/network-policy-cases.json.gz")),
  ).toString(),
) as {
  readonly namespaces: Readonly<Record<string, Labels>>;
  readonly pods: readonly {
    readonly NS: string;
    readonly Name: string;
    readonly IP: string;
    readonly Labels: Labels;
  }[];
  readonly cases: readonly Case[];
};

const namedPorts = (["TCP", "UDP", "SCTP"] as const).flatMap((protocol) =>
  [80, 81].map((port) => ({ name: `serve-${port}-${protocol.toLowerCase()}`, protocol, port })),
);

class Cluster {
  readonly #namespaces = new Map(Object.entries(namespaces));
  readonly #pods = new Map(pods.map((pod) => [`${pod.NS}/${pod.Name}`, { labels: pod.Labels, address: pod.IP }]));

  act({ CreateNamespace, SetNamespaceLabels, CreatePod, SetPodLabels }: Action): void {
    const namespace = CreateNamespace ?? SetNamespaceLabels;
    if (namespace)
      this.#namespaces.set(namespace.Namespace, {
        "kubernetes.io/metadata.name": namespace.Namespace,
        ...namespace.Labels,
      });
    const pod = CreatePod ?? SetPodLabels;
    if (!pod) return;
    const name = `${pod.Namespace}/${pod.Pod}`;
    const address = this.#pods.get(name)?.address ?? "192.168.2.1";
    this.#pods.set(name, { labels: pod.Labels, address });
  }

  addressOf(name: string): string {
    return this.#pods.get(name)?.address ?? assert.fail(`no pod ${name}`);
  }

  world(localHost: World["localHost"]): World {
    return {
      localHost,
      nodes: [{ name: "node-1", labels: {}, addresses: ["172.16.0.1"], isThisNode: true }],
      pods: [...this.#pods].map(([name, { labels, address }]) => {
        const [namespace = ""] = name.split("/");
        return {
          name,
          namespace,
          labels,
          namespaceLabels: this.#namespaces.get(namespace) ?? {},
          serviceAccount: "default",
          namedPorts,
          addresses: [address],
          isOnThisNode: true,
        };
      }),
    };
  }
}

/** Some of the data lack type and name, as a patch does. */
function read(object: object): Policy {
  const result = networkPolicy.parse({ apiVersion: "networking.k8s.io/v1", kind: "NetworkPolicy", ...object });
  assert.ok(result.ok, JSON.stringify(result.issues));
  return findPolicy(result.value) ?? assert.fail();
}

test("NetworkPolicy means in each of the independent cases what their expected cells say", () => {
  let cells = 0;
  for (const { description, steps } of cases) {
    const cluster = new Cluster();
    for (const { actions, policiesAfter, expect } of steps) {
      for (const action of actions ?? []) cluster.act(action);
      const policies = (policiesAfter ?? []).map(read);
      for (const localHost of ["auto", "never"] as const) {
        const world = cluster.world(localHost);
        const compiled = compileWorld(policies, world);
        for (const [cell, expected] of Object.entries(expect)) {
          const [, from = "", to = "", protocol, port] = /^(.+)>(.+)\|(\w+)\/(\d+)$/.exec(cell) ?? [];
          const carries = { protocol: protocol as WorldPacket["protocol"], port: Number(port) };
          const ends = { from: cluster.addressOf(from), to: cluster.addressOf(to) };
          const found = mayConnect(policies, world, { ...ends, ...carries });
          assert.equal(found ? "allowed" : "blocked", expected, `${description}: ${cell}`);
          const verdicts = [
            compiled.judge({ ...carries, pod: from, direction: "egress", peer: ends.to }),
            compiled.judge({ ...carries, pod: to, direction: "ingress", peer: ends.from }),
          ];
          const passes = verdicts.every(({ verdict }) => verdict === "pass");
          assert.equal(passes ? "allowed" : "blocked", expected, `compiled, ${description}: ${cell}`);
          cells++;
        }
      }
    }
  }
  assert.ok(cases.length >= 115 && cells === 2 * 37_152, `${cases.length} cases with ${cells} cells`);
});
