// Runs inside the sender's namespace: pushes live frames out by one interface and says how many.
// usage: generator.ts OBJECT IFINDEX FRAMES SOURCES-FILE (4,096 addresses, network order)
import { readFileSync } from "node:fs";
import { BpfObject } from "@bpfleet/native";
import { packSources, sourceCount } from "./prefixes.ts";
import { udpFrame } from "./programs.ts";

const LIVE_FRAMES = 2;

const [objectPath = "", ifindex = "", frames = "", sourcesPath = ""] = process.argv.slice(2);
await using object = BpfObject.open(readFileSync(objectPath));
object.setGlobal("out_ifindex", Number(ifindex));
await object.load();
const bytes = readFileSync(sourcesPath);
const { keys, values } = packSources(Array.from({ length: sourceCount }, (_, index) => bytes.readUInt32BE(index * 4)));
using sources = object.map("sources");
await sources.updateBatch(keys, values, sourceCount);
using program = object.program("generate");
const started = performance.now();
await program.testRun({
  data: udpFrame([0, 0, 0, 0]).subarray(0, 64),
  repeat: Number(frames),
  flags: LIVE_FRAMES,
  batchSize: 64,
  cpu: 0,
});
process.stdout.write(JSON.stringify({ frames: Number(frames), seconds: (performance.now() - started) / 1000 }) + "\n");
