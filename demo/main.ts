// The demo's story; run.sh has already put this process into namespaces of its own.
import { parseArgs } from "node:util";
import { Daemon } from "./daemon.ts";
import { FilterAct } from "./filter-act.ts";
import { makeNetwork } from "./network.ts";
import { PolicyAct } from "./policy-act.ts";
import { Screen } from "./screen.ts";

const { values: flags } = parseArgs({ options: { keep: { type: "boolean", default: false } } });
const screen = new Screen();
const failures: string[] = [];

screen.title("bpfleet: a router, its clients and a server, each in a network namespace of its own");
screen.picture(["clients ── eth0 [ router, bpfleet ] eth1 ── server"]);
makeNetwork();
let daemon = await start();
process.once("SIGINT", () => void daemon.stop());
{
  using filter = new FilterAct(screen);
  failures.push(...(await filter.play()));
}
{
  using policy = new PolicyAct(screen);
  const restart = async (): Promise<void> => void (daemon = await start());
  failures.push(...(await policy.play(daemon, restart)));
  if (flags.keep && failures.length === 0) await keep();
}
await daemon.stop();
for (const failure of failures) screen.failure(failure);
process.exit(failures.length === 0 ? 0 : 1);

async function start(): Promise<Daemon> {
  screen.step("ebpfctl up");
  const { daemon: started, said } = await Daemon.start();
  screen.output(said);
  return started;
}

async function keep(): Promise<void> {
  screen.step("kept: play with it from another terminal");
  screen.note("make demo-shell                       a shell inside the demo; there:");
  screen.note("  bin/ebpfctl trace --drops           and in a second one:");
  screen.note("  nsenter --net=/run/netns/clients ping -I 10.10.10.7 10.0.0.2");
  screen.note("  nsenter --net=/run/netns/web ping 10.2.0.2");
  screen.note("ctrl-C here ends the demo and leaves nothing behind");
  await daemon.ended;
}
