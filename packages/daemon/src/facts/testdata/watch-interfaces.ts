/** Prints a line for each change of the interfaces: `lo+ v0- 10.0.0.1/24 default`. The argument: milliseconds of work after the first. */
import type { InterfaceFacts } from "@bpfleet/kernel";
import { InterfaceWatch } from "../interface-watch.ts";

let workMs = Number(process.argv[2] ?? 0);
const render = (interfaces: readonly InterfaceFacts[]): string =>
  interfaces.map((each) => {
    const addresses = each.addresses.filter((address) => !address.includes(":") && !address.startsWith("127."));
    return [`${each.name}${each.isUp ? "+" : "-"}`, ...addresses, ...(each.hasDefaultRoute ? ["default"] : [])].join(" ");
  }).join(" ");

const watch = await InterfaceWatch.start({
  onChange: (interfaces) => {
    process.stdout.write(`${render(interfaces)}\n`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, workMs);
    workMs = 0;
  },
  onTrouble: (error) => console.error(error),
});
process.stdout.write(`${render(watch.list())}\n`);
