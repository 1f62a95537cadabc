// Sends small UDP packets from one address at a steady rate; prints how many it sent, and how long that really took.
// usage: sender.ts FROM TO PORT PACKETS_PER_SECOND SECONDS
import { createSocket } from "node:dgram";
import { once } from "node:events";

const [from = "", to = "", port = "", rate = "", seconds = ""] = process.argv.slice(2);
const socket = createSocket({ type: "udp4", sendBufferSize: 4 << 20 });
socket.bind({ address: from });
await once(socket, "listening");
socket.connect(Number(port), to);
await once(socket, "connect");

const payload = Buffer.alloc(22, from);
const started = performance.now();
const until = Number(seconds) * 1000;
let sent = 0;
const answered = { all: 0, failed: 0 };
const count = (error: Error | null): void => {
  answered.all++;
  if (error) answered.failed++;
};
for (let elapsed = 0; elapsed < until; elapsed = performance.now() - started) {
  const due = Math.ceil((Math.min(elapsed + 1, until) / 1000) * Number(rate));
  while (sent < due) {
    socket.send(payload, count);
    sent++;
  }
  await new Promise((resolve) => setTimeout(resolve, 1));
}
while (answered.all < sent) await new Promise((resolve) => setTimeout(resolve, 1));
const tookSeconds = (performance.now() - started) / 1000;
socket.close();
process.stdout.write(JSON.stringify({ sent: sent - answered.failed, tookSeconds }) + "\n");
