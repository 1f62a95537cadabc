// Takes connections of TCP on ports; prints a line when it does.
// usage: answer.ts PORT...
import { createServer } from "node:net";

for (const port of process.argv.slice(2))
  await new Promise<void>((resolve) => createServer((socket) => socket.end("hello\n")).listen(Number(port), resolve));
process.stdout.write("ready\n");
