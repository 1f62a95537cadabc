import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fetchReport } from "@bpfleet/agent";
import { assemblePlan, emptyPlan, type NodePlan } from "@bpfleet/kernel";
import { mountBpffs, NodeKernel, RunStatistics, unmount } from "@bpfleet/native";
import { ContentStore, fetchBytecode, hexOf, noCredentials, pushImage, type ImagePolicy } from "@bpfleet/oci";
import {
  acceptedKey,
  bundleEvidence,
  openClient,
  pushEvidence,
  registryAbsence,
  RegistryBench,
  RegistryProcess,
  signedImage,
} from "@bpfleet/oci/testing";
import { compilePeer, loadProgram, udpFrame } from "../programs.ts";
import { realise, timed } from "../realise.ts";
import {
  answer,
  median,
  quantile,
  Unanswerable,
  type BenchContext,
  type BenchQuestion,
  type BenchResult,
} from "../result.ts";
import { Standalone } from "../standalone.ts";
import { VethPair } from "../veth-pair.ts";

const image = signedImage();
const reference = "quay.io/bpfd-bytecode/xdp_pass:latest";
const policy: ImagePolicy = {
  rules: [{ images: ["quay.io/bpfd-bytecode/*"], mode: "required", accept: [acceptedKey()] }],
  default: { mode: "off", accept: [] },
};
const peer = "bpftool load, attach";
const manyPrograms = 100;

export const question: BenchQuestion = {
  name: "bytecode",
  asks: "how long from an object or a signed image to the attached program, and what 100 of them and the statistics cost",
  async ask(context) {
    const absence = registryAbsence();
    if (absence !== undefined) throw new Unanswerable(absence);
    const results: BenchResult[] = [];
    const bpffs = join(context.scratchDir, "bytecode-bpffs");
    mkdirSync(bpffs);
    await mountBpffs(bpffs);
    try {
      using pair = new VethPair(`bpfb${process.pid}`);
      results.push(...(await timeAttaching(context, bpffs, pair)));
    } finally {
      await unmount(bpffs);
    }
    {
      using pair = new VethPair(`bpfb${process.pid}`);
      results.push(...(await timeMany(context, pair)));
    }
    results.push(await timeStatistics(context));
    return results;
  },
};

/** Given the object, and from the image: pulled over TLS into an empty store, its signature verified. */
async function timeAttaching(context: BenchContext, bpffs: string, pair: VethPair): Promise<readonly BenchResult[]> {
  using bench = new RegistryBench();
  await using registry = await RegistryProcess.start(bench.directory, bench.tls, "none");
  bench.mirror("quay.io", [`https://${registry.host}`]);
  await using client = await openClient(reference, "push", bench, noCredentials);
  await pushImage(client, image, "latest");
  await pushEvidence(client, bundleEvidence("key.bundle.json", image.digest));
  let pulls = 0;
  const pull = async (): Promise<{ readonly bytes: Uint8Array; readonly digest: string }> => {
    const store = new ContentStore(join(bench.directory, `pull-${++pulls}`));
    const { bytes, objectDigest } = await fetchBytecode({ reference, policy, mirrors: bench.mirrors, store });
    return { bytes, digest: hexOf(objectDigest) };
  };
  const given = await pull();
  const file = join(context.scratchDir, "pass.bpf.o");
  writeFileSync(file, given.bytes);
  let current = given.bytes;
  const kernel = await NodeKernel.open({
    bpffsDir: bpffs,
    netns: `/run/netns/${pair.receiver}`,
    loadObject: async () => current,
  });
  const [attached, pulled, theirs]: [number[], number[], number[]] = [[], [], []];
  const rounds = context.isQuick ? 10 : 100;
  for (let round = 0; round <= rounds; round++) {
    const first = await timed(() => realise(kernel, passPlan(given.digest)));
    await realise(kernel, emptyPlan);
    const second = await timed(async () => {
      const { bytes, digest } = await pull();
      current = bytes;
      await realise(kernel, passPlan(digest));
    });
    await realise(kernel, emptyPlan);
    const third = await timed(async () => attachByBpftool(file, bpffs, pair));
    detachByBpftool(bpffs, pair);
    // The first round warms up.
    if (round === 0) continue;
    attached.push(first);
    pulled.push(second);
    theirs.push(third);
  }
  await kernel.removeEverything();
  const ours = median(attached);
  const bpftools = median(theirs);
  return [
    answer("bytecode.load-attach.p50-ms", "ms", ours, peer, bpftools),
    answer("bytecode.load-attach.over-bpftool.ratio", "ratio", ours / bpftools, peer, 1, "<= 1"),
    answer("bytecode.image-to-attached.p50-ms", "ms", median(pulled), peer, bpftools),
    answer("bytecode.image-to-attached.p99-ms", "ms", quantile(pulled, 0.99), peer, quantile(theirs, 0.99), "< 250 ms"),
  ];
}

/** Objects out of files, declared to a node; ten on each of ten interfaces. */
async function timeMany(context: BenchContext, pair: VethPair): Promise<readonly BenchResult[]> {
  const dir = join(context.scratchDir, "many");
  for (let at = 0; at < 10; at++)
    execFileSync("ip", ["-n", pair.receiver, "link", "add", `many${at}`, "type", "veth", "peer", "name", `other${at}`]);
  await using node = await Standalone.up(pair.receiver, dir);
  const file = join(context.scratchDir, "pass.bpf.o");
  const before = node.memory().pssMib;
  const ours = await timed(async () => {
    for (let at = 0; at < manyPrograms; at++)
      node.declare("BpfProgramConfig", `pass-${at}`, configYaml(at, file), "bpfd.io");
    await allLoaded(join(dir, "bpfleet-agent.sock"));
  });
  const after = node.memory().pssMib;
  const script = `mount -t bpf bpf /sys/fs/bpf
for at in $(seq ${manyPrograms}); do bpftool prog load ${file} /sys/fs/bpf/$at type xdp; done
bpftool net attach xdp pinned /sys/fs/bpf/1 dev eth0`;
  const argv = [`--net=/run/netns/${pair.receiver}`, "unshare", "--mount", "sh", "-ec", script];
  const theirs = await timed(async () => execFileSync("nsenter", argv));
  return [
    answer("bytecode.100-programs.in-force.ms", "ms", ours, "bpftool: 100 loads, one attach", theirs),
    answer("bytecode.100-programs.daemon-mib", "MiB PSS", after, "before them", before),
  ];
}

async function allLoaded(agent: string): Promise<void> {
  let why: readonly string[] = [];
  for (const end = performance.now() + 40_000; performance.now() < end; await sleep(100)) {
    const { objects } = await fetchReport(agent);
    why = [...new Set(objects.flatMap(({ state, messages }) => [state, ...messages]))].slice(0, 8);
    const inForce = objects.filter(({ ref, state }) => ref.kind === "BpfProgramConfig" && state === "in-force");
    if (inForce.length === manyPrograms) return;
  }
  throw new Error(`benchmark: ${manyPrograms} programs are not in force after 40 s: ${why.join("; ")}`);
}

/** What one run costs more while the kernel keeps statistics. */
async function timeStatistics(context: BenchContext): Promise<BenchResult> {
  await using pass = await loadProgram(compilePeer(context, "verdict"), "pass_all");
  const rounds = context.isQuick ? 5 : 25;
  const run = async (): Promise<number> =>
    (await pass.program.testRun({ data: udpFrame([10, 0, 0, 1]), repeat: 500_000 })).durationNs;
  const [off, on]: [number[], number[]] = [[], []];
  for (let round = 0; round < rounds; round++) {
    off.push(await run());
    const statistics = RunStatistics.enable();
    try {
      on.push(await run());
    } finally {
      statistics.close();
    }
  }
  return answer("bytecode.statistics-window.ns-per-run", "ns", median(on), "the same without statistics", median(off));
}

/** The program of the documents on eth0, with its map. */
function passPlan(digest: string): NodePlan {
  const [program, map] = ["bytecode/bench/program", "bytecode/bench/maps/passed"];
  const object = { name: `bytecode/${digest}`, digest };
  const definition = { type: "percpu_array", keySize: 4, valueSize: 8, maxEntries: 1, flags: 0 } as const;
  return assemblePlan([
    {
      maps: [
        { key: map, name: "passed", definition, contents: { kind: "live" }, declaredIn: { object, map: "passed" } },
      ],
      programs: [
        { key: program, name: "pass", type: "xdp", object, entry: "pass", globals: {}, maps: { passed: map } },
      ],
      attachments: [{ point: { hook: "xdp", interface: "eth0" }, member: { program, priority: 50, proceedOn: [2] } }],
      instances: [],
      problems: [],
    },
  ]);
}

function configYaml(at: number, file: string): string {
  return `apiVersion: bpfd.io/v1alpha1
kind: BpfProgramConfig
metadata: { name: pass-${at} }
spec:
  name: pass
  type: XDP
  nodeselector: {}
  attachpoint: { networkmultiattach: { interface: many${at % 10}, priority: ${at} } }
  bytecode: file://${file}
`;
}

function attachByBpftool(file: string, bpffs: string, pair: VethPair): void {
  const pin = join(bpffs, "peer");
  execFileSync("bpftool", ["prog", "load", file, pin, "type", "xdp"]);
  const inside = ["nsenter", `--net=/run/netns/${pair.receiver}`, "bpftool"] as const;
  execFileSync(inside[0], [...inside.slice(1), "net", "attach", "xdp", "pinned", pin, "dev", "eth0"]);
}

function detachByBpftool(bpffs: string, pair: VethPair): void {
  execFileSync("nsenter", [`--net=/run/netns/${pair.receiver}`, "bpftool", "net", "detach", "xdp", "dev", "eth0"]);
  rmSync(join(bpffs, "peer"));
}
