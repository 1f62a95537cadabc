import assert from "node:assert/strict";
import { test } from "node:test";
import type { Verdicts } from "./testing/deciding-rule.ts";
import { KernelJudge, type Situation } from "./testing/kernel-judge.ts";
import { minimise, type Counterexample } from "./testing/minimise.ts";
import { ClauseCounts, randomCases, type JudgedPacket, type RandomCase } from "./testing/random-cases.ts";
import { hostClauses, randomHostCases } from "./testing/random-hosts.ts";
import type { Misreading } from "./testing/read-objects.ts";
import type { Json } from "./testing/spelling.ts";
import { tellCounterexample } from "./testing/tell-counterexample.ts";

const pairs = Number(process.env["BPFLEET_POLICY_KERNEL_PAIRS"] ?? 100_000);
const seed = Number(process.env["BPFLEET_POLICY_SEED"] ?? 2);

type IsMistake = (verdicts: Verdicts, of: Pick<Counterexample, "packet">) => boolean;

const disagree: IsMistake = ({ found, expected }) => found !== expected;

/** What disagrees first, and after how many that did not. */
async function findMistake(
  judging: KernelJudge,
  cases: Iterable<RandomCase>,
  most: number,
  counts?: ClauseCounts,
  isMistake: IsMistake = disagree,
): Promise<{ readonly found: Counterexample; readonly count: number } | undefined> {
  let count = 0;
  for (const each of cases) {
    await judging.put(each);
    for (const judged of each.packets) {
      if (isMistake(await judging.judge(each, judged), judged)) return { found: exampleOf(each, judged), count };
      counts?.add(judged);
      count++;
    }
    if (count >= most) break;
  }
  return undefined;
}

function exampleOf({ world, policies, others }: Situation, { packet, sent }: JudgedPacket): Counterexample {
  return { world, policies, others, packet: sent?.packet ?? packet };
}

/** The least that the kernel and the documents disagree about. */
async function leastOf(
  judging: KernelJudge,
  found: Counterexample,
  isMistake: IsMistake = disagree,
): Promise<Counterexample> {
  return minimise(found, async (smaller) => isMistake(await judging.compare(smaller), smaller));
}

async function compareAll(
  of: "policy" | "host",
  cases: Iterable<RandomCase>,
  most: number,
  counts: ClauseCounts,
): Promise<void> {
  await using judging = await KernelJudge.load(of);
  const mistake = await findMistake(judging, cases, most, counts);
  if (mistake !== undefined) {
    const least = await leastOf(judging, mistake.found);
    const verdicts = await judging.compare(least);
    assert.fail(`seed ${seed}, pair ${mistake.count}: ${tellCounterexample(least, verdicts)}`);
  }
  assert.deepEqual(counts.tooRare, []);
}

test("policy_ingress and policy_egress decide as the documents say, each clause often enough to tell", async () => {
  await compareAll("policy", randomCases(seed, 150, true), pairs, new ClauseCounts());
});

test("host_ingress and host_egress decide of the node itself as the documents say, each clause often enough to tell", async () => {
  await compareAll("host", randomHostCases(seed), pairs / 5, new ClauseCounts(hostClauses));
});

/** As a reader of some kinds would take it who reads some of its fields otherwise. */
function misreading(kinds: readonly string[], change: (field: string, value: unknown) => unknown): Misreading {
  const misread = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(misread);
    if (typeof value !== "object" || value === null) return value;
    const fields = Object.entries(value).map(([field, each]) => [field, misread(change(field, each))]);
    return Object.fromEntries(fields) as unknown;
  };
  return (object) => (kinds.includes(String(object["kind"])) ? (misread(object) as Json) : object);
}

const cilium = ["CiliumNetworkPolicy", "CiliumClusterwideNetworkPolicy"];

/** Only of what allows: then more passes than is written. */
const allowing = (change: (field: string, value: unknown) => unknown): Misreading =>
  misreading(cilium, (field, value) =>
    field === "ingress" || field === "egress" ? JSON.parse(JSON.stringify(value, change)) : value,
  );

const withoutExceptions = allowing((field, value) => (field === "except" ? [] : value));

/** Beside names of DNS no range may stand. */
const withWiderRanges = allowing((field, value) =>
  field !== "toPorts"
    ? value
    : (value as readonly Json[]).map(({ ports, rules }) =>
        rules === undefined ? { ports: (ports as readonly Json[]).map(widened) } : { ports, rules },
      ),
);

function widened(port: Json): Json {
  const last = Number(port["endPort"] ?? port["port"]);
  return last > 0 && last < 65_535 ? { ...port, endPort: last + 1 } : port;
}

/** An item that says nothing denies nobody. */
const withoutDenials = misreading(cilium, (field, value) =>
  field.endsWith("Deny") && Array.isArray(value) ? value.map(() => ({})) : value,
);

/** Of what is in a counterexample, how much. */
function sizeOf({ policies, others, world, packet }: Counterexample): object {
  const statements = policies.flatMap((policy) => policy.statements);
  const rules = statements.flatMap(({ ingress, egress }) => [
    ...[...ingress.allow, ...egress.allow].map((rule) => ({ list: "allow", rule })),
    ...[...ingress.deny, ...egress.deny].map((rule) => ({ list: "deny", rule })),
  ]);
  const { asks, protocol } = packet;
  return {
    policies: policies.length,
    statements: statements.length,
    wheres: statements.flatMap(({ subject }) => subject.where).length,
    rules: rules.map(({ list, rule: { peers, ports } }) => [
      list,
      peers === "any" ? "any" : peers.map((peer) => [peer.peer, peer.peer === "addresses" ? peer.except.length : 0]),
      ports === "any" ? "any" : ports.map((port) => ("from" in port ? port.to - port.from : port.match)),
    ]),
    others: others.fallback.length + others.container.length + others.l4.length,
    pods: world.pods.length,
    nodes: world.nodes.length,
    services: world.services?.length ?? 0,
    names: world.names?.length ?? 0,
    asks,
    protocol,
  };
}

/** Whatever rule is named; what names may be asked for is another matter. */
const letsPass: IsMistake = ({ found, expected }, { packet: { port } }) =>
  found === "allow" && expected === "deny" && port !== 53;

const nothing = { policies: 1, statements: 1, wheres: 0, others: 0, services: 0, names: 0, asks: undefined };

for (const { what, of, misread, says, least } of [
  {
    what: "exceptions that a reader passes over",
    of: "policy",
    misread: withoutExceptions,
    says: /cidr: \S+\n +except:\n +- \S+\n/,
    least: { rules: [["allow", [["addresses", 1]], "any"]], pods: 1, nodes: 0, protocol: "TCP" },
  },
  {
    what: "ranges of ports that a reader ends too late",
    of: "policy",
    misread: withWiderRanges,
    says: /port: "\d+"\n/,
    least: { rules: [["allow", "any", [0]]], pods: 1, nodes: 0 },
  },
  {
    what: "denials of the node that a reader passes over",
    of: "host",
    misread: withoutDenials,
    says: /(?:ingress|egress)Deny:\n +- (?:from|to)Entities:\n +- all\n/,
    least: { rules: [["deny", "any", "any"]], pods: 0, nodes: 1, protocol: "TCP" },
  },
] as const) {
  test(`minimise shows the smallest of what the kernel decides wrongly: ${what}`, async () => {
    await using judging = await KernelJudge.load(of, misread);
    const cases = of === "policy" ? randomCases(seed, 150, true) : randomHostCases(seed);
    const mistake = await findMistake(judging, cases, 100_000, undefined, letsPass);
    assert.ok(mistake, "it is found");
    const smallest = await leastOf(judging, mistake.found, letsPass);
    const { protocol, ...size } = sizeOf(smallest) as { readonly protocol: string };
    const told = tellCounterexample(smallest, await judging.compare(smallest));
    assert.deepEqual({ protocol, ...size }, { protocol, ...nothing, ...least }, told);
    assert.match(told, /"found": "allow",\n "expected": "deny"/);
    assert.match(told, says);
  });
}

test("another rule that is named as what decided is a mistake, whatever the verdict", async () => {
  const reversed = misreading(cilium, (field, value) =>
    ["ingress", "egress"].includes(field) && Array.isArray(value) ? value.toReversed() : value,
  );
  await using judging = await KernelJudge.load("policy", reversed);
  const mistake = await findMistake(judging, randomCases(seed, 150, true), 100_000);
  assert.ok(mistake, "it is found");
  const smallest = await leastOf(judging, mistake.found);
  const told = tellCounterexample(smallest, await judging.compare(smallest));
  const [, list, found, expected] =
    /"found": "allow by (Cilium\w+ \S+ \S+\/)(\d+)",\n "expected": "allow by \1(\d+)"/.exec(told) ?? [];
  assert.ok(list !== undefined && found !== expected, told);
});
