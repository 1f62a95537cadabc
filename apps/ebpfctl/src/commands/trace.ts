import { styleText } from "node:util";
import { fetchReport, type EditAdvice, type NodeReport } from "@bpfleet/agent";
import { KernelError, renderRef, sameRef } from "@bpfleet/base";
import { DaemonClient, type TraceEvent, type TraceOptions } from "@bpfleet/daemon/client";
import { parseConfig, type Config } from "../config.ts";
import { DropAdvice } from "../explain/drop-advice.ts";
import { renderAdvice } from "../explain/render-advice.ts";
import { renderOrigin } from "../explain/render-origin.ts";
import { Failure } from "../failure.ts";
import { parseForm } from "../output/parse-form.ts";
import { renderSummary, summarizePacket } from "../packet/describe-packet.ts";
import { parseResourceArgs } from "../resources/resource-args.ts";
import { PeerNames, type Names } from "../policy/peer-names.ts";
import type { DefineCommand } from "./mod.ts";

export const defineTrace: DefineCommand = (program, world) => {
  program
    .command("trace")
    .summary("show verdicts as they happen")
    .description(
      "Show what is decided about packets as it happens: where, about which packet, by which rule of which object, and where that rule is written; below the first of the packets that no rule allows or one denies, the smallest edit that would let them through. Programs report only while somebody looks.",
    )
    .argument("[resource...]", "only verdicts of this object: kind name, or kind/name")
    .option("-n, --namespace <name>", "namespace of the object", "default")
    .option("--drops", "only packets that are dropped")
    .option("--flows", "only those and packets that open a connection: one line for each, with its verdict")
    .option("--every <number>", "one packet in so many", "1")
    .option("--count <number>", "end after so many")
    .option("-o, --output <form>", "json: one document a line")
    .action(async (words, flags, command) => {
      parseForm(flags.output, "json");
      if (flags.drops === true && flags.flows === true)
        throw new Failure("trace shows drops, or connections and drops: give --drops or --flows");
      const config = parseConfig(command.optsWithGlobals(), world);
      const options: TraceOptions = {
        every: whole("--every", flags.every),
        only: flags.drops === true ? "drop" : flags.flows === true ? "flow" : "all",
        owner: ownerOf(words, flags.namespace),
      };
      if (options.owner !== undefined && (await isUnknown(options.owner, config)))
        throw new Failure(`trace ${renderRef(options.owner)}: there is no such object on this node`);
      let left = flags.count === undefined ? Infinity : whole("--count", flags.count);
      using daemon = new DaemonClient(config.socket);
      const { results } = await daemon.state({ withCounters: false });
      if (!results.items.some(({ item }) => item === "hook"))
        world.err.write("warning: nothing of ours is attached on this node: there is nothing to see\n");
      const ended = new AbortController();
      const signal = AbortSignal.any([world.onInterrupt(), ended.signal]);
      const names = new PeerNames(config.agentSocket, world.clock);
      const edits = new DropAdvice(config.agentSocket);
      for await (const events of daemon.trace(options, signal)) {
        const known = await names.of(events);
        const missed = events.reduce((sum, event) => sum + (event.missed ?? 0), 0);
        if (missed > 0 && flags.output === undefined)
          world.err.write(`warning: too many at once: about ${missed} are not shown; --every shows fewer evenly\n`);
        const shown = events.slice(0, left);
        left -= shown.length;
        const advice = await edits.of(shown);
        world.out.write(
          shown
            .map((event) =>
              flags.output === "json"
                ? renderJson(event, known, advice.get(event))
                : renderLine(event, known, world.out.hasColor) + renderEdit(event, advice.get(event)),
            )
            .join(""),
        );
        if (left <= 0) ended.abort();
      }
    });
};

function ownerOf(words: readonly string[], namespace: string): TraceOptions["owner"] {
  if (words.length === 0) return undefined;
  const [wish, ...more] = parseResourceArgs(words);
  const [name, ...others] = wish?.names ?? [];
  if (wish === undefined || name === undefined || more.length + others.length > 0)
    throw new Failure("trace follows one object: give its kind and name, e.g. trace ebpfprogram edge");
  const { group, kind, scope } = wish.kind;
  return { group, kind, namespace: scope === "Cluster" ? "" : namespace, name };
}

/** Nothing is known of objects where no agent answers. */
async function isUnknown(ref: NonNullable<TraceOptions["owner"]>, { agentSocket }: Config): Promise<boolean> {
  const report = await fetchReport(agentSocket).catch((error: unknown): NodeReport | undefined => {
    if (error instanceof KernelError) return undefined;
    throw error;
  });
  return report !== undefined && !report.objects.some((object) => sameRef(object.ref, ref));
}

function whole(flag: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text))
    throw new Failure(`invalid argument ${JSON.stringify(text)} for "${flag}": give a number from 1`);
  return Number(text);
}

/** `15:04:05.123 drop eth0 10.10.10.7:40000 > 10.0.0.2:53 udp, 60 bytes: … (EBPFProgram default/edge …)` */
function renderLine(event: TraceEvent, names: Names, hasColor: boolean): string {
  const { decision, at, lengthBytes } = event;
  const time = new Date(at).toISOString().slice(11, 23);
  const style = decision.verdict === "drop" ? "red" : "green";
  const verdict = hasColor ? styleText(style, decision.verdict, { validateStream: false }) : decision.verdict;
  const origin = decision.rule === undefined ? renderRef(decision.owner) : renderOrigin(decision.rule.origin);
  return `${time} ${verdict} ${event.interface} ${renderSummary(summarizePacket(event.head, event.layer), names)}, ${lengthBytes} bytes: ${decision.text} (${origin})\n`;
}

/** Below the first packet of its kind. */
function renderEdit({ decision }: TraceEvent, advice: EditAdvice | undefined): string {
  if (advice === undefined) return "";
  const isolating = (decision.isolatedBy ?? []).map((origin) => `isolated by ${renderOrigin(origin)}`);
  return [...isolating, ...renderAdvice(advice)].map((line) => `    ${line}\n`).join("");
}

function renderJson(
  { head, layer, at, ...event }: TraceEvent,
  names: Names,
  smallestEdit: EditAdvice | undefined,
): string {
  const summary = summarizePacket(head, layer);
  const [fromName, toName] = [names[summary.from ?? ""], names[summary.to ?? ""]];
  const packet = { ...summary, fromName, toName, head: Buffer.from(head).toString("hex"), layer };
  return `${JSON.stringify({ at: new Date(at).toISOString(), ...event, packet, smallestEdit })}\n`;
}
