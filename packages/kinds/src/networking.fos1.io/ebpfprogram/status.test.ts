import assert from "node:assert/strict";
import { test } from "node:test";
import { Value } from "typebox/value";
import type { ObjectRef } from "@bpfleet/base";
import type { HookResult, ItemError, ItemResult, NodePlan, PlanProblem } from "@bpfleet/kernel";
import { emptyPlan } from "@bpfleet/kernel";
import { refusedStatus } from "../../status/conditions.ts";
import type { Outcome, Parsed } from "../../kind.ts";
import { outcome } from "../../testing/outcomes.ts";
import { readAll } from "../../testing/read-all.ts";
import { statusSchema } from "./schema.ts";
import type { EBPFProgram, EBPFProgramStatus } from "./schema.ts";
import { programStatus } from "./status.ts";

const [parsed] = readAll(
  "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFProgram\nmetadata: {name: p, generation: 3}\nspec: {type: xdp, interface: eth0}\n",
).parsed as readonly Parsed<EBPFProgram>[];
const owner = parsed?.ref as ObjectRef;
const object = { name: "filter", digest: "" };
const plan: NodePlan = {
  ...emptyPlan,
  maps: [
    {
      key: "m",
      name: "m",
      definition: { type: "array", keySize: 4, valueSize: 4, maxEntries: 1, flags: 0 },
      contents: { kind: "live" },
      owner,
    },
  ],
  programs: [
    { key: "p", name: "p", type: "xdp", object, entry: "e", globals: {}, maps: {}, owner },
    { key: "other", name: "o", type: "xdp", object, entry: "e", globals: {}, maps: {} },
  ],
  hooks: [
    {
      key: "xdp/eth0",
      point: { hook: "xdp", interface: "eth0" },
      members: [
        { program: "other", priority: 1, proceedOn: [2] },
        { program: "p", priority: 10, proceedOn: [2] },
      ],
    },
  ],
};
const chained: HookResult = { mode: "native", chain: "chain", memberModes: ["stub", "inline"] };

function items(hook: Partial<ItemResult>, program: Partial<ItemResult> = {}): readonly ItemResult[] {
  return [
    { item: "map", key: "m", state: "in-force" },
    { item: "program", key: "p", state: "in-force", ...program },
    { item: "hook", key: "xdp/eth0", state: "in-force", hook: chained, ...hook },
  ];
}

function status(fields: Partial<Outcome>, atSeconds = 0): EBPFProgramStatus {
  if (parsed === undefined) throw new Error("not parsed");
  const result = programStatus(parsed, outcome({ plan, ...fields }, atSeconds));
  assert.ok(Value.Check(statusSchema, result), JSON.stringify(result));
  assert.deepEqual(JSON.parse(JSON.stringify(result)), result);
  return result;
}

function brief({ state, reason, conditions }: EBPFProgramStatus): unknown[] {
  return [
    state,
    reason,
    ...(conditions ?? []).map((condition) => `${condition.type}=${condition.status} ${condition.reason}`),
  ];
}

function problem(severity: PlanProblem["severity"], reason: string): PlanProblem {
  return { origin: { object: owner, path: "/spec" }, severity, reason, message: `${reason} it is` };
}

function failure(code: ItemError["code"], message: string): Partial<ItemResult> {
  return { state: "failed", hook: undefined, error: { code, message } };
}

test("programStatus of what is in force says where and how it runs", () => {
  const result = status({ items: items({}) });
  assert.deepEqual(brief(result), [
    "Active",
    undefined,
    "Ready=True Ready",
    "Accepted=True Accepted",
    "Loaded=True Loaded",
    "Attached=True Attached",
  ]);
  assert.deepEqual(
    [result.attachedTo, result.mode, result.node, result.observedGeneration],
    ["eth0", "native, inline", "node-1", 3],
  );
  assert.equal(result.lastUpdated, "2026-01-01T00:00:00Z");
  const direct = status({ items: items({ hook: { mode: "skb", chain: "direct", memberModes: ["inline"] } }) });
  assert.equal(direct.mode, "skb");
  const said = "attach xdp/eth0: operation not supported (EOPNOTSUPP)";
  const fallen: HookResult = { mode: "skb", chain: "direct", memberModes: [], reason: said };
  assert.equal(
    status({ items: items({ hook: fallen }) }).conditions?.find(({ type }) => type === "Attached")?.message,
    `runs on eth0, not in the driver but in the kernel's generic path (${said})`,
  );
});

test("programStatus tells the mode of the program itself, not of what tracks flows for it", () => {
  const tracker = {
    key: "tc-egress/eth0",
    point: { hook: "tc", interface: "eth0", direction: "egress" },
    members: [{ program: "p", priority: 10, proceedOn: [] }],
  } as const;
  const tracking: ItemResult = {
    item: "hook",
    key: tracker.key,
    state: "in-force",
    hook: { mode: "tcx", chain: "direct", memberModes: ["inline"] },
  };
  const result = status({ plan: { ...plan, hooks: [tracker, ...plan.hooks] }, items: [...items({}), tracking] });
  assert.deepEqual([result.state, result.attachedTo, result.mode], ["Active", "eth0", "native, inline"]);
});

test("programStatus gives the cause when something failed", () => {
  const loading = status({
    items: items({ state: "withheld", hook: undefined }, failure("verifier", "load p: R1 invalid mem access")),
  });
  assert.deepEqual(brief(loading), [
    "Failed",
    "load p: R1 invalid mem access",
    "Ready=False VerifierRejected",
    "Accepted=True Accepted",
    "Loaded=False VerifierRejected",
    "Attached=False InProgress",
  ]);
  const attaching = status({ items: items(failure("busy", "attach p to eth0: busy (EBUSY)")) });
  assert.deepEqual(brief(attaching).slice(0, 3), [
    "Failed",
    "attach p to eth0: busy (EBUSY)",
    "Ready=False HookOccupied",
  ]);
  assert.deepEqual([attaching.attachedTo, attaching.mode], [undefined, undefined]);
  const ofTheFuture = status({ items: items(failure("ofTheFuture" as never, "attach p to eth0: too late")) });
  assert.deepEqual(brief(ofTheFuture).slice(0, 3), [
    "Failed",
    "attach p to eth0: too late",
    "Ready=False InternalError",
  ]);
});

test("programStatus waits for what will come", () => {
  const waiting = status({ plan: emptyPlan, problems: [problem("waiting", "InterfaceNotFound")] });
  assert.deepEqual(brief(waiting), [
    "Pending",
    "InterfaceNotFound it is",
    "Ready=False InterfaceNotFound",
    "Accepted=True Accepted",
    "Loaded=False InterfaceNotFound",
    "Attached=False InterfaceNotFound",
  ]);
  const planned = status({});
  assert.deepEqual(brief(planned).slice(0, 3), ["Pending", "not tried yet", "Ready=False InProgress"]);
});

test("programStatus calls it failed when something declared is not served, and tells no notes then", () => {
  const refused = status({ items: items({}), problems: [problem("note", "A"), problem("refused", "NotServed")] });
  assert.deepEqual(brief(refused).slice(0, 4), [
    "Failed",
    "NotServed it is",
    "Ready=False NotServed",
    "Accepted=False NotServed",
  ]);
  assert.equal(refused.attachedTo, "eth0");
  const noted = status({ items: items({}), problems: [problem("note", "A")] });
  assert.equal(noted.state, "Active");
  assert.equal(noted.conditions?.find((condition) => condition.type === "Accepted")?.message, "A it is");
});

test("programStatus leaves out the problems of others", () => {
  const others = { ...problem("refused", "X"), origin: { object: { ...owner, name: "q" }, path: "" } };
  assert.equal(status({ items: items({}), problems: [others] }).state, "Active");
});

test("programStatus says that everything is paused", () => {
  const paused = status({ items: items({}), isPaused: true });
  assert.deepEqual(brief(paused).slice(2), [
    "Ready=False Paused",
    "Accepted=True Accepted",
    "Loaded=True Loaded",
    "Attached=False Paused",
  ]);
  assert.deepEqual([paused.state, paused.attachedTo], ["Pending", undefined]);
});

test("programStatus notes an interface that is down", () => {
  const facts = {
    name: "eth0",
    ifindex: 2,
    isUp: false,
    mtu: 1500,
    linkKind: "",
    mac: "",
    addresses: [],
    hasDefaultRoute: false,
  };
  const attached = status({ items: items({}), interfaces: [facts] }).conditions?.find(
    (condition) => condition.type === "Attached",
  );
  assert.equal(attached?.message, "runs on eth0, which is down");
});

test("programStatus keeps the time of conditions that did not change, and of a status that did not", () => {
  const first = status({ items: items(failure("busy", "busy")) });
  const again = status({ items: items(failure("busy", "busy")), previousStatus: first }, 60);
  assert.deepEqual(again, first);
  const fixed = status({ items: items({}), previousStatus: again }, 120);
  const times = Object.fromEntries(
    (fixed.conditions ?? []).map((condition) => [condition.type, condition.lastTransitionTime]),
  );
  assert.deepEqual(times, {
    Ready: "2026-01-01T00:02:00Z",
    Accepted: "2026-01-01T00:00:00Z",
    Loaded: "2026-01-01T00:00:00Z",
    Attached: "2026-01-01T00:02:00Z",
  });
  assert.equal(fixed.lastUpdated, "2026-01-01T00:02:00Z");
  assert.deepEqual(status({ items: items({}), previousStatus: "garbage" }).state, "Active");
});

test("programStatus adds packets and bytes up by what became of them, and names the busiest rules", () => {
  const rule = (index: number, packets: bigint) => ({
    rule: {
      index,
      id: `${index}`,
      text: `10.0.0.${index}`,
      origin: { object: owner, path: `/spec/settings/blacklist/ips/${index}` },
    },
    counter: { packets, bytes: packets * 60n },
  });
  const counters = [
    {
      owner,
      reasons: {
        passed: { packets: 10n, bytes: 1000n },
        blacklisted: { packets: 5n, bytes: 300n },
        malformed: { packets: 0n, bytes: 0n },
      },
      rules: [rule(1, 2n), rule(2, 3n), rule(3, 0n)],
      gauges: { flows: 7 },
    },
    { owner: { ...owner, name: "q" }, reasons: { passed: { packets: 99n, bytes: 99n } }, rules: [], gauges: {} },
  ];
  assert.deepEqual(status({ items: items({}), counters }).metrics, {
    packetsPassed: 10,
    bytesPassed: 1000,
    packetsDropped: 5,
    bytesDropped: 300,
    reasons: [
      { reason: "passed", packets: 10, bytes: 1000 },
      { reason: "blacklisted", packets: 5, bytes: 300 },
    ],
    rules: [
      { rule: "10.0.0.2", field: "EBPFProgram p spec.settings.blacklist.ips[2]", packets: 3, bytes: 180 },
      { rule: "10.0.0.1", field: "EBPFProgram p spec.settings.blacklist.ips[1]", packets: 2, bytes: 120 },
    ],
    gauges: { flows: 7 },
  });
});

test("programStatus names the pods that it runs on, and adds up what was counted for each", () => {
  const web = { pod: "web", namespace: "default", path: "/pods/web" };
  const hook = {
    key: "cgroup-egress//pods/web#p",
    point: { hook: "cgroup", path: "/pods/web", attach: "egress", member: "p" },
    members: [{ program: "p", priority: 10, proceedOn: [] }],
  } as const;
  const instance = {
    feature: "filter",
    owner,
    key: "i",
    programs: ["p"],
    maps: {},
    rules: [],
    data: { pods: [web, { ...web, pod: "db", path: "/pods/db" }] },
  };
  const onPods = { ...plan, hooks: [hook], instances: [instance] };
  const attached: ItemResult = {
    item: "hook",
    key: hook.key,
    state: "in-force",
    hook: { mode: "cgroup", chain: "direct", memberModes: [] },
  };
  const of = (pod: string, direction: string | undefined, reasons: Record<string, bigint>, gauges = {}) => ({
    owner,
    labels: { pod_namespace: "default", pod, ...(direction !== undefined && { direction }) },
    reasons: Object.fromEntries(
      Object.entries(reasons).map(([name, packets]) => [name, { packets, bytes: packets * 10n }]),
    ),
    rules: [
      {
        rule: { index: 1, id: "1", text: "10.0.0.1", origin: { object: owner, path: "/spec/x" } },
        counter: { packets: 1n, bytes: 5n },
      },
    ],
    gauges,
  });
  const counters = [
    of("web", "egress", { passed: 4n, blacklist: 2n }),
    of("web", "ingress", { passed: 3n }),
    of("web", undefined, {}, { devices_refused: 6n }),
    of("db", undefined, {}, { devices_refused: 1n }),
  ];
  const result = status({ plan: onPods, items: [...items({}).slice(0, 2), attached], counters });
  assert.equal(result.attachedTo, "pod/web");
  assert.deepEqual(result.metrics?.pods, [
    { pod: "db", gauges: { devices_refused: 1 } },
    {
      pod: "web",
      received: { packets: 3, bytes: 30 },
      sent: { packets: 4, bytes: 40 },
      dropped: { packets: 2, bytes: 20 },
      gauges: { devices_refused: 6 },
    },
  ]);
  assert.deepEqual(result.metrics?.gauges, { devices_refused: 7 });
  assert.deepEqual(
    result.metrics?.rules.map(({ rule, packets }) => [rule, packets]),
    [["10.0.0.1", 4]],
  );
});

test("refusedStatus names the mistakes, and not more of them than people read", () => {
  const issues = Array.from({ length: 12 }, (_, index) => ({
    path: "",
    code: "x",
    severity: "error" as const,
    message: `m${index}`,
  }));
  const result = refusedStatus(issues, outcome({})) as EBPFProgramStatus;
  assert.ok(Value.Check(statusSchema, result));
  assert.deepEqual(brief(result).slice(2), ["Ready=False Invalid", "Accepted=False Invalid"]);
  assert.match(result.reason ?? "", /^m0; m1; .*m9; and 2 more$/);
});
