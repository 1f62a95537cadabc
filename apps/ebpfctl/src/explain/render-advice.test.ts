import assert from "node:assert/strict";
import { test } from "node:test";
import { renderAdvice } from "./render-advice.ts";

const object = { group: "cilium.io", kind: "CiliumNetworkPolicy", namespace: "shop", name: "p" };
const found = { found: true, object, alsoAllows: [] } as const;
const position = (line: number) => ({ file: "p.yaml", line, column: 1 });

test("renderAdvice shows what goes, and where from", () => {
  const advice = {
    ...found,
    does: "take-out",
    path: "/spec/ingressDeny/0/toPorts/0/ports",
    position: position(9),
    yaml: '- port: "80"\n  protocol: TCP\n',
    patch: [{ op: "remove", path: "/spec/ingressDeny/0/toPorts/0/ports/1" }],
  } as const;
  assert.deepEqual(renderAdvice(advice), [
    "the smallest edit that lets it through: take out of CiliumNetworkPolicy shop/p spec.ingressDeny[0].toPorts[0].ports, p.yaml:9",
    '  - - port: "80"',
    "  -   protocol: TCP",
    "nothing else that is known to this node would pass by it",
  ]);
});

test("renderAdvice shows all edits that are needed together, and what would pass besides", () => {
  const patch = [{ op: "remove", path: "/spec/ingressDeny/0" }] as const;
  const advice = {
    ...found,
    does: "take-out",
    path: "/spec/ingressDeny",
    yaml: "- fromEntities:\n    - world\n",
    patch,
    and: [
      { object, does: "add-before", path: "/spec/ingress/1", position: position(12), yaml: "- {}\n", patch },
      { object, does: "add", path: "/spec/ingress", yaml: "- {}\n", patch },
    ],
    alsoAllows: ["pod shop/batch"],
  } as const;
  assert.deepEqual(renderAdvice(advice), [
    "the 3 smallest edits that together let it through: take out of CiliumNetworkPolicy shop/p spec.ingressDeny",
    "  - - fromEntities:",
    "  -     - world",
    "and add before CiliumNetworkPolicy shop/p spec.ingress[1], p.yaml:12",
    "  + - {}",
    "and add to CiliumNetworkPolicy shop/p spec.ingress",
    "  + - {}",
    "it would let pass besides: pod shop/batch",
  ]);
});
