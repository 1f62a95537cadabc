import assert from "node:assert/strict";
import { test } from "node:test";
import { findKind } from "../kinds.ts";

/** Beside something of the wrong shape, what only looking into several fields shows: all of it is told at once. */
const kindsOfPolicy: readonly (readonly [apiVersion: string, kind: string, spec: unknown, wrong: readonly string[]])[] =
  [
    [
      "networking.k8s.io/v1",
      "NetworkPolicy",
      {
        podSelector: { matchExpressions: [{ key: "a", operator: "Inn" }] },
        policyTypes: ["Ingres"],
        ingress: [
          { ports: [{ protocol: "TPC" }, { port: 80, endPort: 70 }], from: [{ ipBlock: { cidr: "10.0.0.0" } }, "all"] },
          "everything",
          { ports: "80", from: [{ podSelector: {}, ipBlock: { cidr: 10 } }, {}] },
        ],
        egress: [{ to: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["12.0.0.0/8"] } }], ports: [{ port: "HTTP" }] }],
      },
      [
        "spec.egress[0].ports[0].port",
        "spec.egress[0].to[0].ipBlock.except[0]",
        "spec.ingress[0].from[0].ipBlock.cidr",
        "spec.ingress[0].from[1]",
        "spec.ingress[0].ports[0].protocol",
        "spec.ingress[0].ports[1].endPort",
        "spec.ingress[1]",
        "spec.ingress[2].from[0].ipBlock",
        "spec.ingress[2].from[0].ipBlock.cidr",
        "spec.ingress[2].from[1]",
        "spec.ingress[2].ports",
        "spec.podSelector.matchExpressions[0].operator",
        "spec.policyTypes[0]",
      ],
    ],
    [
      "cilium.io/v2",
      "CiliumNetworkPolicy",
      {
        endpointSelector: {},
        ingress: [
          {
            fromCIDR: [10, "10.0.0.0/33"],
            fromCIDRSet: [{ cidr: "10.0.0.0/8", except: ["11.0.0.0/9"] }, { cidr: "10.0.0.1" }, 7],
            toPorts: [
              {
                ports: [
                  { port: "80", protocol: "TPC" },
                  { port: "91", endPort: 90 },
                ],
              },
              "80",
              { ports: [{ port: "a--b" }] },
            ],
          },
          7,
          { fromCIDR: ["10.0.0.0/34"], icmps: [{ fields: [{ type: 8, family: "IPv5" }, { type: 300 }] }, "echo"] },
        ],
        egress: [{ toFQDNs: [{ matchName: "*.a.org" }, {}] }, { toPorts: "80", toCIDR: ["300.1.1.1"] }],
      },
      [
        "spec.egress[0].toFQDNs[0].matchName",
        "spec.egress[0].toFQDNs[1]",
        "spec.egress[1].toCIDR[0]",
        "spec.egress[1].toPorts",
        "spec.ingress[0].fromCIDRSet[0].except[0]",
        "spec.ingress[0].fromCIDRSet[1].cidr",
        "spec.ingress[0].fromCIDRSet[2]",
        "spec.ingress[0].fromCIDR[0]",
        "spec.ingress[0].fromCIDR[1]",
        "spec.ingress[0].toPorts[0].ports[0].protocol",
        "spec.ingress[0].toPorts[0].ports[1].endPort",
        "spec.ingress[0].toPorts[1]",
        "spec.ingress[0].toPorts[2].ports[0].port",
        "spec.ingress[1]",
        "spec.ingress[2].fromCIDR[0]",
        "spec.ingress[2].icmps[0].fields[0].family",
        "spec.ingress[2].icmps[0].fields[1].type",
        "spec.ingress[2].icmps[1]",
      ],
    ],
    [
      "networking.fos1.io/v1alpha1",
      "EBPFNetworkPolicy",
      {
        policyType: "filtering",
        selector: { podSelector: {} },
        ingress: [
          { action: "drop", from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] } }, 7] },
          { from: "all" },
        ],
      },
      [
        "spec.ingress[0].action",
        "spec.ingress[0].from[0].ipBlock.except[0]",
        "spec.ingress[0].from[1]",
        "spec.ingress[1].from",
      ],
    ],
    [
      "networking.fos1.io/v1alpha1",
      "EBPFContainerPolicy",
      {
        selector: { podSelector: {} },
        networkControls: {
          enableIngressControl: "yes",
          ingressRules: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] } }, 7],
          egressRules: 7,
        },
      },
      [
        "spec.networkControls.egressRules",
        "spec.networkControls.enableIngressControl",
        "spec.networkControls.ingressRules[0].ipBlock.except[0]",
        "spec.networkControls.ingressRules[1]",
      ],
    ],
  ];

for (const [apiVersion, kind, spec, wrong] of kindsOfPolicy)
  test(`${kind} tells all mistakes at once, whatever else is wrong`, () => {
    const found = findKind(apiVersion, kind) ?? assert.fail(kind);
    const { ok, issues } = found.parse({ apiVersion, kind, metadata: { name: "p", namespace: "x" }, spec });
    assert.equal(ok, false);
    const fields = issues.filter(({ severity }) => severity === "error").map(({ message }) => message.split(": ")[0]);
    assert.deepEqual(new Set(fields), new Set(wrong));
  });
