import { fetchEditAdvice, type EditAdvice } from "@bpfleet/agent";
import { KernelError } from "@bpfleet/base";
import type { TraceEvent } from "@bpfleet/daemon/client";
import { summarizePacket } from "../packet/describe-packet.ts";

/** For these there may be an edit that lets the packet through: policies drop it since no rule allows it, or one denies it. */
export const unallowedReasons: ReadonlySet<string> = new Set(["default_deny", "denied"]);

/** `undefined` where no agent answers. */
export async function askForEdit(
  agentSocket: string,
  request: Parameters<typeof fetchEditAdvice>[1],
): Promise<EditAdvice | undefined> {
  try {
    return await fetchEditAdvice(agentSocket, request);
  } catch (error) {
    if (error instanceof KernelError) return undefined;
    throw error;
  }
}

/** Each is compiled with everything that is declared: so many at the most of what comes at once, and of one command. */
const mostAtOnce = 2;
const mostInAll = 200;

/** The smallest edits for packets that policies drop as they are traced: one for each kind of packet. */
export class DropAdvice {
  readonly #socket: string;
  readonly #known = new Set<string>();

  constructor(agentSocket: string) {
    this.#socket = agentSocket;
  }

  /** Of those for which there is one that was not told yet. */
  async of(events: readonly TraceEvent[]): Promise<ReadonlyMap<TraceEvent, EditAdvice>> {
    const found = new Map<TraceEvent, EditAdvice>();
    for (const event of events) {
      if (found.size === mostAtOnce || this.#known.size === mostInAll) break;
      const kind = kindOf(event);
      if (kind === undefined || this.#known.has(kind)) continue;
      const advice = await this.#ask(event);
      if (advice === undefined) break;
      this.#known.add(kind);
      found.set(event, advice);
    }
    return found;
  }

  #ask({ interface: name, program, decision, head, layer }: TraceEvent): Promise<EditAdvice | undefined> {
    const isIngress = program.includes("ingress");
    // An interface of the node itself is asked about as if it were a pod's: what comes in is what that one sends.
    const direction = isIngress === program.includes("host") ? "egress" : "ingress";
    const frame = layer === "ethernet" ? head : withEthernet(head);
    return askForEdit(this.#socket, { interface: name, direction, frame, peer: decision.peer });
  }
}

/** Packets for which the same edit would do; `undefined` where there is none. */
function kindOf({ decision, program, interface: name, head, layer }: TraceEvent): string | undefined {
  if (decision.verdict !== "drop" || !program.startsWith("policy/") || !unallowedReasons.has(decision.reason))
    return undefined;
  const { from, to, protocol, destinationPort } = summarizePacket(head, layer);
  return [name, program, from, to, protocol, destinationPort].join(" ");
}

function withEthernet(packet: Uint8Array): Uint8Array {
  const type = (packet[0] ?? 0) >> 4 === 6 ? [0x86, 0xdd] : [0x08, 0x00];
  return Uint8Array.of(...new Uint8Array(12), ...type, ...packet);
}
