import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import type { EditAdvice } from "@bpfleet/agent";
import { DaemonClient, type Explanation } from "@bpfleet/daemon/client";
import { parseHookKey } from "@bpfleet/kernel";
import { parseConfig, type Config } from "../config.ts";
import { Failure, SilentFailure } from "../failure.ts";
import { askForEdit, unallowedReasons } from "../explain/drop-advice.ts";
import { findHooks } from "../explain/find-hooks.ts";
import { packetJson, renderExplained, type ExplainedPacket } from "../explain/render-explained.ts";
import { parseForm } from "../output/parse-form.ts";
import { whileTelling } from "../output/progress.ts";
import { encodePacket } from "../packet/packet.ts";
import { packetOfFlags, type PacketFlags } from "../packet/packet-flags.ts";
import { CaptureError, parsePcap } from "../packet/pcap.ts";
import type { World } from "../world.ts";
import { collect } from "./collect.ts";
import type { DefineCommand } from "./mod.ts";

/** So that scripts can ask. */
const exitDropped = 3;

export const defineExplain: DefineCommand = (program, world) => {
  program
    .command("explain")
    .summary("say what would become of a packet, and why")
    .description(
      "Say what would become of a packet on this node: which program of which object decides by which rule, and where that rule is written. The packet runs through dry-run twins of the loaded programs over the same maps; nothing changes. Exit code 0: every packet passes, 3: at least one is dropped, 1: it cannot be told.",
    )
    .option("-i, --interface <name>", "interface that the packet arrives on or leaves by")
    .option("--direction <way>", "ingress or egress", "ingress")
    .option("--hook <key>", "one hook by its key, e.g. xdp/eth0 (`ebpfctl link list` has them)")
    .option("--from <address>", "source address")
    .option("--to <address>", "destination address")
    .option("--proto <protocol>", "tcp, udp, sctp, icmp or a number")
    .option("--sport <port>", "source port")
    .option("--dport <port>", "destination port")
    .option("--tcp-flags <flags>", "fin,syn,rst,psh,ack,urg (syn)")
    .option("--vlan <id>", "VLAN tag; several times, the outermost first", collect, [] as readonly string[])
    .option("--length <bytes>", "length of the frame")
    .option("--ttl <hops>", "TTL or hop limit (64)")
    .option("--dscp <value>", "DSCP, 0 to 63")
    .option("--from-mac <address>", "hardware address of the other end")
    .option("--pcap <file>", "packets of a capture instead, or - for standard input")
    .option("-o, --output <form>", "json")
    .action(async (flags, command) => {
      parseForm(flags.output, "json");
      const direction = parseDirection(flags.direction);
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const { facts, results } = await daemon.state({ withCounters: false });
      const found = findHooks(
        results.items,
        { interface: flags.interface, direction, hook: flags.hook },
        facts.interfaces.map(({ name }) => name),
      );
      const at = facts.interfaces.find(({ name }) => name === found.interface);
      const packets =
        flags.pcap === undefined
          ? [{ frame: encodePacket(packetOfFlags(flags satisfies PacketFlags, direction, at)) }]
          : await readCapture(flags.pcap, world);
      const explained = await whileTelling(world, `explaining ${packets.length} packets`, async () => {
        const done: ExplainedPacket[] = [];
        for (const { frame } of packets) {
          const explanations = await explain(daemon, found.hooks, frame);
          done.push({ frame, explanations, advice: await advise(config, explanations, frame) });
        }
        return done;
      });
      if (results.isPaused)
        world.err.write("warning: everything is paused: this is what would be without `ebpfctl pause`\n");
      world.out.write(
        flags.output === "json"
          ? `${JSON.stringify({ packets: explained.map(packetJson) }, undefined, 2)}\n`
          : renderExplained(explained, world.out.hasColor),
      );
      if (explained.some(({ explanations }) => explanations.some(({ passes }) => !passes)))
        throw new SilentFailure(exitDropped);
    });
};

/** Hook after hook, as the packet would travel: behind a drop there is nothing. */
async function explain(
  daemon: DaemonClient,
  hooks: readonly string[],
  packet: Uint8Array,
): Promise<readonly Explanation[]> {
  const explanations: Explanation[] = [];
  for (const hook of hooks) {
    const explanation = await daemon.explain({ hook, packet });
    explanations.push(explanation);
    if (!explanation.passes) break;
  }
  return explanations;
}

/** Only of what policies drop since no rule allows it, or one denies it; nothing where no agent answers. */
async function advise(
  { agentSocket }: Config,
  explanations: readonly Explanation[],
  frame: Uint8Array,
): Promise<EditAdvice | undefined> {
  const last = explanations.at(-1);
  const point = last && parseHookKey(last.hook);
  const { reason, peer } = last?.steps.at(-1)?.decision ?? {};
  if (point?.hook !== "tc" || reason === undefined || !unallowedReasons.has(reason)) return undefined;
  const direction = point.direction === "egress" ? "ingress" : "egress";
  return askForEdit(agentSocket, { interface: point.interface, direction, frame, peer });
}

function parseDirection(text: string): "ingress" | "egress" {
  if (text === "ingress" || text === "egress") return text;
  throw new Failure(`invalid argument ${JSON.stringify(text)} for "--direction": give ingress or egress`);
}

async function readCapture(name: string, world: World): Promise<readonly { readonly frame: Uint8Array }[]> {
  const file = name === "-" ? "/dev/stdin" : resolve(world.cwd, name);
  const bytes = await readFile(file).catch((cause: NodeJS.ErrnoException) => {
    throw new Failure(`read ${name}: ${cause.code ?? cause.message}`, { cause });
  });
  try {
    const { packets } = parsePcap(bytes);
    if (packets.length === 0) throw new CaptureError("read capture: it holds no packets");
    return packets;
  } catch (cause) {
    if (cause instanceof CaptureError) throw new Failure(`${name}: ${cause.message}`, { cause });
    throw cause;
  }
}
