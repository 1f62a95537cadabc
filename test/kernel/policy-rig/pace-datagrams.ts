/** Sends datagrams of UDP at a pace, by one socket, or counts those that come, for tests. Each line of its input is a PaceCommand, each of its output the answer. */
import { createSocket } from "node:dgram";
import { createInterface } from "node:readline";

export interface PaceCommand {
  readonly listen?: number;
  /** Goes on from there. */
  readonly send?: { readonly host: string; readonly port: number; readonly bytes: number; readonly everyMs: number };
}

export interface PaceAnswer {
  readonly sent: number;
  /** By the port that they are from. */
  readonly received: Readonly<Record<number, number>>;
}

const socket = createSocket("udp4");
const received: Record<number, number> = {};
let sent = 0;
socket.on("message", (_, { port }) => (received[port] = (received[port] ?? 0) + 1));

for await (const line of createInterface({ input: process.stdin })) {
  const { listen, send } = JSON.parse(line) as PaceCommand;
  if (listen !== undefined) await new Promise<void>((resolve) => socket.bind(listen, resolve));
  if (send !== undefined) {
    const datagram = Buffer.alloc(send.bytes);
    setInterval(() => socket.send(datagram, send.port, send.host, (error) => (sent += error ? 0 : 1)), send.everyMs);
  }
  const answer: PaceAnswer = { sent, received };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();
