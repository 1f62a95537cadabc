/** Reads a list of wishes from each line; prints the endpoints after each change, and `ms` when a list was looked for once. */
import { createInterface } from "node:readline";
import type { EndpointWish } from "@bpfleet/kernel";
import { EndpointWatch } from "../endpoint-watch.ts";

const say = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`);
await using watch = new EndpointWatch({
  onChange: (endpoints) => say({ endpoints }),
  onTrouble: (error) => console.error(error),
});
say({ is: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const [begun, used] = [performance.now(), process.cpuUsage()];
  await watch.watch(JSON.parse(line) as EndpointWish[]);
  const { user, system } = process.cpuUsage(used);
  say({ ms: performance.now() - begun, cpuMs: (user + system) / 1000 });
}
