import { fetchPolicyState, type PolicyState } from "@bpfleet/agent";
import {
  countForgotten,
  readLearnt,
  readNameEvents,
  readTable,
  readTrials,
  readTrialTotals,
  type LogEntry,
} from "@bpfleet/features";
import type { MapEntries } from "@bpfleet/kernel";
import { DaemonClient } from "@bpfleet/daemon/client";
import { parseConfig } from "../config.ts";
import { parseDuration } from "../duration.ts";
import { Failure } from "../failure.ts";
import { renderJson } from "../maps/json.ts";
import { parseForm } from "../output/parse-form.ts";
import { listNames, renderForgotten, renderNameEvents, renderNames } from "../policy/name-list.ts";
import { makeDump, renderDump } from "../policy/policy-dump.ts";
import { renderLogEntry } from "../policy/log-line.ts";
import { findUnused, renderUnused, renderUnusedTotals } from "../policy/unused-rules.ts";
import { listTrials, renderTrials } from "../policy/trial-list.ts";
import type { World } from "../world.ts";
import type { DefineCommand } from "./mod.ts";

/** Of 64 bytes: all that a table can have. */
const mostLines = 1 << 23;
const mostTrials = 1 << 13;
const mostNames = 1 << 14;

export const definePolicy: DefineCommand = (program, world) => {
  const policy = program
    .command("policy")
    .summary("show the policies in force: who may talk to whom")
    .description("What policies became on this node.");
  policy
    .command("dump")
    .description(
      "Print the policies of this node as the kernel has them: pods, the rules that judge what they receive and send in the order in which they decide, with what each counted and where it is written, and which addresses are told apart.",
    )
    .argument("[endpoint]", "only this pod (name, or namespace/name) or interface")
    .option("-n, --namespace <name>", "only pods of this namespace")
    .option("-o, --output <form>", "table|json", "table")
    .action(async (endpoint, flags, command) => {
      const isJson = parseForm(flags.output, "table", "json") === "json";
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const policies = await readPolicies({ lines: mostLines }, daemon, config.agentSocket);
      if (policies === undefined) return sayNone(world, isJson);
      const { state, maps } = policies;
      const { counters } = await daemon.state({ withCounters: true });
      const dump = makeDump(readTable(maps.lines.values), state, counters, { endpoint, namespace: flags.namespace });
      if (endpoint !== undefined && dump.endpoints.length === 0)
        throw new Failure(`find ${endpoint}: no policy is about such a pod or interface of this node`);
      if (!dump.isPlanned)
        world.err.write("warning: what is declared is not in force yet: rules are shown by their numbers\n");
      world.out.write(isJson ? `${renderJson(dump, 2)}\n` : renderDump(dump, world.clock.now()));
    });
  policy
    .command("unused")
    .description(
      "Print the rules of policies that decided on no packet of this node since they are counted. Rules of policies that select no pod here are not counted.",
    )
    .option("--since <duration>", "those that did not for so long, as 12h or 7d, and were counted all the while")
    .option("-o, --output <form>", "json")
    .action(async (flags, command) => {
      parseForm(flags.output, "json");
      const withinMs = flags.since === undefined ? undefined : parseDuration(flags.since);
      if (withinMs === 0)
        throw new Failure(`invalid argument ${JSON.stringify(flags.since)} for "--since": give more than 0`);
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const { counters } = await daemon.state({ withCounters: true });
      const nowMs = world.clock.now();
      const unused = findUnused(counters, nowMs, withinMs);
      const { rules } = unused;
      if (flags.output === "json") world.out.write(`${renderJson(unused, 2)}\n`);
      else if (rules.length > 0) world.out.write(renderUnused(rules, nowMs));
      world.err.write(renderUnusedTotals(unused, flags.since));
    });
  policy
    .command("shadow")
    .description(
      "Print what would be dropped, or let through, if the policies that are only tried out (bpfleet.io/mode: shadow) were in force: by pod, peer and port, with the rule that would decide. Removing the annotation puts them in force.",
    )
    .option("-o, --output <form>", "json|wide")
    .action(async (flags, command) => {
      parseForm(flags.output, "json", "wide");
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const state = await fetchPolicyState(config.agentSocket);
      const [trialsKey, totalsKey] = [state.maps["trials"], state.maps["trial_totals"]];
      if (state.data?.trying === undefined || trialsKey === undefined || totalsKey === undefined) {
        world.err.write("No policy that selects a pod of this node is only tried out\n");
        return;
      }
      const trials = await daemon.readMap({ map: { by: "key", key: trialsKey }, max: mostTrials });
      const sums = await daemon.readMap({ map: { by: "key", key: totalsKey }, max: 1 });
      const totals = readTrialTotals(sums.entries);
      const listed = listTrials(readTrials(trials.entries), state, process.hrtime.bigint());
      if (flags.output === "json") world.out.write(`${renderJson({ totals, trials: listed }, 2)}\n`);
      else if (listed.length > 0) world.out.write(renderTrials(listed, flags.output === "wide"));
      world.err.write(
        `flows were asked about ${totals.asked} ${totals.asked === 1n ? "time" : "times"}: ${totals.wouldDrop} that pass would be dropped, ${totals.wouldPass} that are dropped would pass\n`,
      );
      if (totals.lost > 0n) world.err.write(`warning: ${totals.lost} of them had no room in the list\n`);
    });
  policy
    .command("names")
    .description(
      "Print which names of DNS the pods of this node have learnt, of which addresses and for how long: those are whom rules with toFQDNs mean. Also what became of questions and answers.",
    )
    .argument("[pod]", "only this pod (name, or namespace/name)")
    .option("-o, --output <form>", "table|json", "table")
    .action(async (pod, flags, command) => {
      const isJson = parseForm(flags.output, "table", "json") === "json";
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      // What is added meanwhile is not taken for forgotten.
      const roles = { name_events: mostNames, learnt: mostNames, known_names: mostNames };
      const policies = await readPolicies(roles, daemon, config.agentSocket);
      if (policies === undefined) return sayNone(world, isJson);
      const { state, maps } = policies;
      const counts = readNameEvents(maps.name_events);
      const all = listNames(readLearnt(maps.learnt, maps.known_names), state, process.hrtime.bigint());
      const names = all.filter((each) => pod === undefined || each.pod === pod || each.pod.endsWith(`/${pod}`));
      const forgotten = countForgotten(counts, maps.learnt, maps.known_names);
      if (isJson) world.out.write(`${renderJson({ names, events: counts, forgotten }, 2)}\n`);
      else if (names.length > 0) world.out.write(renderNames(names));
      world.err.write(renderNameEvents(counts) + renderForgotten(forgotten));
    });
  policy
    .command("log")
    .description(
      "Print the flows that rules with action log opened, and what policies with log.value decided: whose rule, whose pod, which peer, and ports. The daemon writes the same lines, as JSON, to its standard output. A rule tells 100 flows each second, all together 500; how many more there were is told too.",
    )
    .option("-f, --follow", "go on with what comes")
    .option("--tail <number>", "so many of the last 500", "20")
    .option("-o, --output <form>", "json: one document a line")
    .action(async (flags, command) => {
      parseForm(flags.output, "json");
      if (!/^\d{1,9}$/.test(flags.tail))
        throw new Failure(`invalid argument ${JSON.stringify(flags.tail)} for "--tail": give a number`);
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const wish = { tail: Number(flags.tail), follow: flags.follow === true };
      for await (const lines of daemon.log(wish, world.onInterrupt()))
        for (const line of lines)
          world.out.write(`${flags.output === "json" ? line : renderLogEntry(JSON.parse(line) as LogEntry)}\n`);
    });
};

/** What is in force of policies, with maps by their roles, read in this order, of each so many entries at most; `undefined`: nothing is. */
async function readPolicies<Role extends string>(
  roles: Readonly<Record<Role, number>>,
  daemon: DaemonClient,
  agentSocket: string,
): Promise<{ readonly state: PolicyState; readonly maps: Readonly<Record<Role, MapEntries>> } | undefined> {
  const state = await fetchPolicyState(agentSocket);
  const maps: Partial<Record<Role, MapEntries>> = {};
  for (const [role, max] of Object.entries(roles) as [Role, number][]) {
    const key = state.maps[role];
    if (key === undefined) return undefined;
    maps[role] = (await daemon.readMap({ map: { by: "key", key }, max })).entries;
  }
  return { state, maps: maps as Record<Role, MapEntries> };
}

function sayNone(world: World, isJson: boolean): void {
  world.err.write("No policy selects a pod of this node\n");
  if (isJson) world.out.write("{}\n");
}
