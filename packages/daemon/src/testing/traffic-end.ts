/**
 * One end of numbered UDP traffic: `send TARGET SOURCE...` sends a packet a millisecond from each source,
 * `receive ADDRESS` notes what comes. Ends with its standard input, and then says what it saw.
 */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";

const port = 4009;
const [role = "", address = "", ...sources] = process.argv.slice(2);
const seen: Record<string, number[]> = {};
const over = new AbortController();
process.stdin.resume().on("end", () => over.abort());

if (role === "send") {
  const sockets = await Promise.all(
    sources.map(async (source) => {
      const socket = createSocket("udp4").bind(0, source);
      await once(socket, "listening");
      return { source, socket };
    }),
  );
  process.stdout.write("ready\n");
  let number = 0;
  for (const begin = performance.now(); !over.signal.aborted;) {
    for (const due = performance.now() - begin; number < due; number++) {
      for (const { source, socket } of sockets) {
        const packet = Buffer.alloc(64);
        packet.writeUInt32LE(number);
        socket.send(packet, port, address);
        (seen[source] ??= []).push(number);
      }
    }
    await sleep(1);
  }
  for (const { socket } of sockets) socket.close();
} else {
  const socket = createSocket({ type: "udp4", recvBufferSize: 8 << 20 }).bind(port, address);
  socket.on("message", (packet, { address: source }) => (seen[source] ??= []).push(packet.readUInt32LE()));
  await once(socket, "listening");
  process.stdout.write("ready\n");
  while (!over.signal.aborted) await sleep(20);
  // What is still in its buffer.
  await sleep(200);
  socket.close();
}
process.stdout.write(`${JSON.stringify(seen)}\n`);
