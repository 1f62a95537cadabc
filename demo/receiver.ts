// Counts UDP packets per source address; prints the counts as one line of JSON four times a second.
// usage: receiver.ts PORT
import { createSocket } from "node:dgram";

const counts: Record<string, number> = {};
const socket = createSocket({ type: "udp4", recvBufferSize: 8 << 20 });
socket.on("message", (_message, source) => {
  counts[source.address] = (counts[source.address] ?? 0) + 1;
});
socket.bind(Number(process.argv[2]), () => process.stdout.write("{}\n"));
setInterval(() => process.stdout.write(JSON.stringify(counts) + "\n"), 250);
