import { fetchPolicyState } from "@bpfleet/agent";
import { readFlows } from "@bpfleet/features";
import { DaemonClient } from "@bpfleet/daemon/client";
import { parseConfig } from "../config.ts";
import { Failure } from "../failure.ts";
import { renderJson } from "../maps/json.ts";
import { parseForm } from "../output/parse-form.ts";
import { parseAddress } from "../packet/address.ts";
import { parseProtocolText } from "../policy/address-text.ts";
import { listFlows, renderFlows } from "../policy/flow-list.ts";
import { renderAddress } from "@bpfleet/kinds";
import type { DefineCommand } from "./mod.ts";

const usualLimit = "100000";

export const defineConntrack: DefineCommand = (program, world) => {
  program
    .command("conntrack")
    .summary("show the connections that policies let through")
    .description("Connections of pods as policies track them.")
    .command("dump")
    .description(
      "Print the connections that are tracked now, those with the latest packets first: whose they are, who opened them, their state, and the rule that allows them. A connection of two pods of this node is two, one of each.",
    )
    .argument("[endpoint]", "only of this pod (name, or namespace/name) or interface")
    .option("-n, --namespace <name>", "only of pods of this namespace")
    .option("--address <address>", "only with this address at one end")
    .option("--port <port>", "only with this port at one end")
    .option("--proto <protocol>", "only tcp, udp, sctp, icmp, icmpv6 or a number")
    .option("-4, --ipv4", "only IPv4")
    .option("-6, --ipv6", "only IPv6")
    .option("-a, --all", "also those that were still for so long that they have ended")
    .option("--limit <number>", "look at not more than this of each family", usualLimit)
    .option("--no-headers", "leave the first line out")
    .option("-o, --output <form>", "json|wide")
    .action(async (pod, flags, command) => {
      parseForm(flags.output, "json", "wide");
      const max = whole("--limit", flags.limit, 10_000_000);
      const address = flags.address === undefined ? undefined : parseAddress(flags.address);
      if (flags.address !== undefined && address === undefined)
        throw new Failure(`invalid argument ${JSON.stringify(flags.address)} for "--address": give an address`);
      const protocol = flags.proto === undefined ? undefined : parseProtocolText(flags.proto);
      if (flags.proto !== undefined && protocol === undefined)
        throw new Failure(
          `invalid argument ${JSON.stringify(flags.proto)} for "--proto": give tcp, udp, sctp, icmp, icmpv6 or a number from 0 to 255`,
        );
      const config = parseConfig(command.optsWithGlobals(), world);
      using daemon = new DaemonClient(config.socket);
      const state = await fetchPolicyState(config.agentSocket);
      const roles = [...(flags.ipv6 === true ? [] : ["flows4"]), ...(flags.ipv4 === true ? [] : ["flows6"])];
      const readings = [];
      for (const role of roles) {
        const key = state.maps[role];
        if (key !== undefined) readings.push(await daemon.readMap({ map: { by: "key", key }, max }));
      }
      const nowNs = process.hrtime.bigint();
      const flows = readings.flatMap(({ entries }) => readFlows(entries, nowNs));
      const listed = listFlows(flows, state, nowNs, {
        pod,
        namespace: flags.namespace,
        address: address && renderAddress(address.bytes),
        port: flags.port === undefined ? undefined : whole("--port", flags.port, 65_535),
        protocol,
        withEnded: flags.all === true,
      });
      if (flags.output === "json") world.out.write(`${renderJson(listed, 2)}\n`);
      else if (listed.length > 0) world.out.write(renderFlows(listed, flags.headers, flags.output === "wide"));
      else world.err.write("No connections found\n");
      if (readings.some(({ isWhole }) => !isWhole))
        world.err.write(`warning: there are more than ${max}; --limit shows more\n`);
    });
};

function whole(flag: string, text: string, most: number): number {
  const value = Number(text);
  if (/^[1-9]\d*$/.test(text) && value <= most) return value;
  throw new Failure(`invalid argument ${JSON.stringify(text)} for "${flag}": give a number from 1 to ${most}`);
}
