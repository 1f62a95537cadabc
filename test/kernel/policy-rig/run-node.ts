/** A daemon and its agent over a directory, for tests. Each line of its input changes the directory; the answer tells what became of it. */
import { once } from "node:events";
import { createInterface } from "node:readline";
import { DirectoryStore, startAgent } from "@bpfleet/agent";
import type { ObjectRef } from "@bpfleet/base";
import { startDaemon, type Explanation } from "@bpfleet/daemon";
import { features, readFailSafePorts, type HostAccess } from "@bpfleet/features";
import { kinds, type KubeObject } from "@bpfleet/kinds";

export interface RunNodeOptions {
  readonly bpffs: string;
  readonly state: string;
  readonly store: string;
  /** Metrics are at the same path with `.metrics` behind it. */
  readonly socket: string;
  /** The list of the BPF objects. */
  readonly objects: string;
  /** Whether the node itself always reaches its pods; as the product has it when not given. */
  readonly hostAccess?: HostAccess | undefined;
  /** As settings write them; as the product has them when not given. */
  readonly failSafePorts?: string | undefined;
  /** Nobody hands in a plan: what is in force, or on the disk, is all that the daemon knows. */
  readonly isDaemonAlone?: boolean | undefined;
}

export interface RunNodeCommand {
  readonly write?: readonly KubeObject[];
  readonly remove?: readonly ObjectRef[];
  /** A frame, base64, that enters by the hook. */
  readonly explain?: { readonly hook: string; readonly packet: string };
}

export interface RunNodeAnswer {
  readonly objects: readonly {
    readonly ref: ObjectRef;
    readonly state: string;
    readonly messages: readonly string[];
    readonly status: unknown;
  }[];
  readonly trouble?: string | undefined;
  /** From the first change of the directory until the results are here. */
  readonly ms: number;
  readonly explanation?: Explanation | undefined;
  readonly failure?: string | undefined;
}

const options = JSON.parse(process.argv[2] ?? "{}") as RunNodeOptions;
const clock = { now: () => Date.now(), monotonicMs: () => performance.now() };
const say = (answer: object): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);

await using daemon = await startDaemon({
  nodeName: "rig",
  version: "0.0.0-test",
  bpffs: options.bpffs,
  state: options.state,
  socket: options.socket,
  objects: options.objects,
  features,
  metrics: { unix: `${options.socket}.metrics` },
  policySettings: {
    hostAccess: options.hostAccess,
    failSafePorts: readFailSafePorts(options.failSafePorts ?? "in:usual").ports,
  },
  log: { level: "error" },
});
if (options.isDaemonAlone === true) {
  await daemon.settled();
  say({ is: "ready" });
  await once(process.stdin.resume(), "end");
  await daemon.stop();
  process.exit(0);
}
await using agent = await startAgent({
  store: options.store,
  stateDir: options.state,
  daemon,
  features,
  kinds,
  clock,
  onNotice: (notice) => console.error(notice),
});
const store = new DirectoryStore({ directory: options.store, clock });

function refOf({ apiVersion, kind, metadata }: KubeObject): ObjectRef {
  const [first = "", second] = apiVersion.split("/");
  return { group: second === undefined ? "" : first, kind, namespace: metadata.namespace ?? "", name: metadata.name };
}

async function carryOut({ write = [], remove = [], explain }: RunNodeCommand): Promise<RunNodeAnswer> {
  const begunMs = performance.now();
  await store.writeAll(
    write.map((value) => ({
      ref: refOf(value),
      value,
      text: JSON.stringify(value),
      source: { file: "rig.yaml", line: 1, isRendered: true },
    })),
  );
  for (const ref of remove) await store.remove(ref);
  const explanation =
    explain && (await daemon.explain({ hook: explain.hook, packet: Buffer.from(explain.packet, "base64") }));
  const { objects, trouble } = await agent.sync();
  return {
    objects: objects.map(({ ref, state, messages, object: { status } }) => ({ ref, state, messages, status })),
    trouble,
    ms: performance.now() - begunMs,
    explanation,
  };
}

say({ is: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say(await carryOut(JSON.parse(line) as RunNodeCommand));
  } catch (error) {
    say({ objects: [], ms: 0, failure: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  }
}
