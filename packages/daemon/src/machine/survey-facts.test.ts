import assert from "node:assert/strict";
import { test } from "node:test";
import { emptyPlan, type Inventory, type NodePlan, type ObservedKernel } from "@bpfleet/kernel";
import type { DaemonResults } from "../daemon.ts";
import { findingsOf, placesOf } from "./survey-facts.ts";

const results: DaemonResults = {
  revision: 1,
  isComplete: true,
  isSettled: true,
  isPaused: false,
  items: [],
  healed: [{ at: 1, item: "hook", key: "xdp/eth0", what: "the link was removed" }],
  applyMs: undefined,
  trouble: undefined,
};
const plan: NodePlan = {
  ...emptyPlan,
  hooks: [{ key: "tc-ingress/eth0", point: { hook: "tc", interface: "eth0", direction: "ingress" }, members: [] }],
};
const observed: ObservedKernel = {
  maps: [],
  programs: [{ key: "filter/gone", generation: "1", programId: 7, type: "xdp", mapIds: [] }],
  hooks: [
    {
      key: "tc-ingress/eth0",
      point: { hook: "tc", interface: "eth0", direction: "ingress" },
      generation: "1",
      members: [8, 9],
      isAttached: true,
      linkId: 3,
      programId: 10,
      result: { mode: "tcx", chain: "chain", memberModes: ["inline", "inline"] },
    },
  ],
};
const inventory: Inventory = {
  programs: [],
  maps: [],
  links: [
    { id: 3, type: "tcx", programId: 10, target: "tcx_ingress eth0", ours: "tc-ingress/eth0" },
    { id: 4, type: "tcx", programId: 55, target: "tcx_ingress eth0" },
    { id: 5, type: "tcx", programId: 56, target: "tcx_ingress eth00" },
    { id: 6, type: "tcx", programId: 57, target: "tcx_egress eth0" },
    { id: 0, type: "cls_bpf", programId: 58, target: "tc-ingress eth0 pref 10 handle 0x1" },
    { id: 0, type: "cls_bpf", programId: 59, target: "tc-egress eth0 pref 10 handle 0x1" },
  ],
};

test("findingsOf names what nobody wants, who else is on a hook, and what was put right", () => {
  assert.deepEqual(findingsOf(plan, observed, inventory, results), [
    { kind: "orphan", key: "filter/gone", text: "no object on this node wants this program any more" },
    {
      kind: "conflict",
      key: "tc-ingress/eth0",
      text: "foreign program 55 is on it too, by link 4: tcx_ingress eth0",
    },
    {
      kind: "conflict",
      key: "tc-ingress/eth0",
      text: "foreign program 58 is on it too, by a filter: tc-ingress eth0 pref 10 handle 0x1",
    },
    { kind: "healed", key: "xdp/eth0", text: "hook: the link was removed" },
  ]);
});

test("placesOf tells the position of each program of a chain", () => {
  assert.deepEqual(placesOf(observed), [
    { programId: 8, hook: "tc-ingress/eth0", position: 1, members: 2 },
    { programId: 9, hook: "tc-ingress/eth0", position: 2, members: 2 },
  ]);
});
