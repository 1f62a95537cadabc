import type { TableQuestion } from "@bpfleet/features";
import { parsePrefix, renderAddress } from "@bpfleet/kinds";
import { mapped, peerBytes, protocolNumbers, questionOf, type DroppedPacket } from "./dropped-packet.ts";
import type { EditTable } from "./edit-table.ts";
import { likelyAddresses, likelyPorts } from "./likely-others.ts";
import type { KnownPeer } from "./who-is.ts";

type Peers = ReadonlyMap<string, KnownPeer>;

/** Others who are asked whether they would be let in too. */
const mostAsked = 256;
/** Ports that nobody is likely to name, to see whether all are open. */
const strangePorts = [1, 49_151, 65_535];

/**
 * What passes by edits and did not: other peers that are known or have addresses like this one's, and other ports of
 * this one. `named` has ports that they are likely to open.
 */
export function allowedBesides(
  before: EditTable,
  after: EditTable,
  packet: DroppedPacket,
  who: Peers,
  named: unknown,
): readonly string[] {
  const question = questionOf(packet);
  const opens = (other: TableQuestion): boolean =>
    before.judge(other).verdict === "drop" && after.judge(other).verdict === "pass";
  const names = new Set<string>();
  const own = peerName(packet, who);
  for (const [address, { name }] of [...who].slice(0, mostAsked)) {
    const bytes = bytesOf(address);
    if (bytes !== undefined && name !== own && !names.has(name) && opens({ ...question, peer: mapped(bytes) }))
      names.add(name);
  }
  const stranger = likelyAddresses(peerBytes(packet)).find(
    (bytes) => !who.has(renderAddress(bytes)) && opens({ ...question, peer: mapped(bytes) }),
  );
  const others = stranger === undefined ? [] : [`other addresses, such as ${renderAddress(stranger)}`];
  return [...portsBesides(question, named, opens), ...names, ...others];
}

function portsBesides(
  question: TableQuestion,
  named: unknown,
  opens: (other: TableQuestion) => boolean,
): readonly string[] {
  const every = ["every port of the same peer"];
  if (!(question.protocol in protocolNumbers)) {
    const ofTcp = { ...question, protocol: 6 };
    return opens({ ...ofTcp, port: strangePorts[0] ?? 1 }) ? every : [];
  }
  if (strangePorts.every((port) => port === question.port || opens({ ...question, port }))) return every;
  for (const [number, protocol] of Object.entries(protocolNumbers))
    for (const port of [question.port, ...likelyPorts(named, question.port)]) {
      const isAsked = Number(number) === question.protocol && port === question.port;
      if (!isAsked && opens({ ...question, protocol: Number(number), port }))
        return [`other ports of the same peer, such as ${protocol} ${port}`];
    }
  return [];
}

function peerName(packet: DroppedPacket, who: Peers): string | undefined {
  return who.get(renderAddress(peerBytes(packet)))?.name;
}

function bytesOf(address: string): Uint8Array | undefined {
  const read = parsePrefix(address);
  return read.ok ? read.prefix.bytes : undefined;
}
