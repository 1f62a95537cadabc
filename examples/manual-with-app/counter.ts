/** Tells once a second what the counter has counted; needs no rights but to read the program's maps. */
import { watchProgram, mapPath, openMap, type NodeProgram } from "@bpfleet/client";

const config = "go-xdp-counter-example";
const passed = new Uint8Array([2, 0, 0, 0]);

async function tell(program: NodeProgram): Promise<void> {
  using map = await openMap(mapPath(program, "xdp_stats_map"));
  const perCpu = (await map.get(passed)) ?? [];
  const sum = (offset: number): bigint => perCpu.reduce((total, value) => total + value.readBigUInt64LE(offset), 0n);
  console.log(`${sum(0)} packets received\n${sum(8)} bytes received\n`);
}

const stopping = new AbortController();
process.once("SIGTERM", () => stopping.abort());

let current: NodeProgram | undefined;
const telling = setInterval(() => {
  if (current?.isLoaded === true) tell(current).catch((error: unknown) => console.error(error));
}, 1000);
for await (current of watchProgram(config, { signal: stopping.signal }))
  console.log(current?.isLoaded === true ? `${config} is loaded` : `${config} is not loaded yet`);
clearInterval(telling);
