import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import type { KubeObject } from "@bpfleet/kinds";
import { rigPod, type RigPod } from "../../test/kernel/policy-rig/pod-network.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "../../test/kernel/policy-rig/policy-rig.ts";
import { answer, median, type BenchContext, type BenchQuestion } from "../result.ts";

const ruleCount = 1000;
const servedPort = 5201;
const source = join(import.meta.dirname, "../peers/traffic.c");
const sides = ["nothing", "policy", "nftables"] as const;

type Side = (typeof sides)[number];

export const question: BenchQuestion = {
  name: "policy.traffic",
  asks: `what a TCP stream and a question with its answer lose between two pods by ${ruleCount} rules at each end, beside no policy and the same rules in nftables`,
  async ask(context) {
    const [client, server] = [rigPod("shop", "client", 1), rigPod("shop", "server", 2)];
    await using rig = await PolicyRig.make("routed", [client, server], { ports: [80] });
    const program = join(context.scratchDir, "traffic");
    execFileSync("cc", ["-O2", "-Wall", "-o", program, source]);
    await rig.change({
      write: [
        namespaceObject("shop", {}),
        ...[client, server].map((pod) => podObject(pod, rig.network.netnsOf(pod), { app: pod.name })),
      ],
    });
    await using serving = await Serving.start(program, rig, server);
    const policies = [policyOf("ingress", server, client), policyOf("egress", client, server)];
    const rounds = context.isQuick ? 3 : 11;
    const taken: Record<Side, Taken[]> = { nothing: [], policy: [], nftables: [] };
    for (let round = 0; round < rounds; round++) {
      for (const side of sides) {
        if (side === "policy") await rig.change({ write: policies });
        if (side === "nftables") nft(rig, nftRules(client, server));
        taken[side].push(serving.measure(client, context));
        if (side === "policy") await rig.change({ remove: policies.map(refOfPolicy) });
        if (side === "nftables") nft(rig, "delete table inet bench");
      }
      context.progress(
        `round ${round + 1}: ${sides.map((side) => `${side} ${(taken[side].at(-1)?.gigabits ?? 0).toFixed(1)} Gbit/s`).join(", ")}`,
      );
    }
    const of = (side: Side, key: keyof Taken): number => median(taken[side].map((each) => each[key]));
    return (["nothing", "nftables"] as const).flatMap((peer) => {
      const name = peer === "nothing" ? "no-policy" : peer;
      return [
        answer(`policy.stream-over-${name}.gbit-s`, "Gbit/s", of("policy", "gigabits"), name, of(peer, "gigabits")),
        answer(`policy.ask-over-${name}.p50-us`, "µs", of("policy", "p50"), name, of(peer, "p50")),
        answer(`policy.ask-over-${name}.p99-us`, "µs", of("policy", "p99"), name, of(peer, "p99")),
      ];
    });
  },
};

interface Taken {
  readonly gigabits: number;
  /** Microseconds. */
  readonly p50: number;
  readonly p99: number;
}

/** A server in one pod that a client in another one asks. */
class Serving implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #program: string;
  readonly #rig: PolicyRig;
  readonly #server: RigPod;

  private constructor(child: ChildProcess, program: string, rig: PolicyRig, server: RigPod) {
    this.#child = child;
    this.#program = program;
    this.#rig = rig;
    this.#server = server;
  }

  static async start(program: string, rig: PolicyRig, server: RigPod): Promise<Serving> {
    const netns = rig.network.netnsOf(server);
    const argv = ["netns", "exec", netns, program, "serve", server.ipv4, String(servedPort)];
    const child = spawn("ip", argv, { stdio: ["ignore", "pipe", "inherit"] });
    await once(child.stdout, "data");
    return new Serving(child, program, rig, server);
  }

  measure(client: RigPod, { isQuick }: BenchContext): Taken {
    const [bits] = this.#ask(client, "stream", isQuick ? 300 : 1000);
    const [p50, p99] = this.#ask(client, "ask", isQuick ? 300 : 1000);
    return { gigabits: (bits ?? Number.NaN) / 1e9, p50: p50 ?? Number.NaN, p99: p99 ?? Number.NaN };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  #ask(client: RigPod, mode: string, milliseconds: number): readonly number[] {
    const netns = this.#rig.network.netnsOf(client);
    const argv = ["netns", "exec", netns, this.#program, mode, this.#server.ipv4, String(servedPort)];
    return execFileSync("ip", [...argv, String(milliseconds)], { encoding: "utf8" })
      .trim()
      .split(" ")
      .map(Number);
  }
}

/** What is asked for stands in the last of many rules. */
function policyOf(direction: "ingress" | "egress", pod: RigPod, peer: RigPod): KubeObject {
  const side = direction === "ingress" ? "from" : "to";
  const rules = Array.from({ length: ruleCount }, (_, at) => ({
    [side]: [{ ipBlock: { cidr: `${at < ruleCount - 1 ? blockAt(at) : peer.ipv4}/32` } }],
    ports: [{ protocol: "TCP", port: servedPort }],
  }));
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name: direction, namespace: pod.namespace },
    spec: {
      podSelector: { matchLabels: { app: pod.name } },
      policyTypes: [direction === "ingress" ? "Ingress" : "Egress"],
      [direction]: rules,
    },
  };
}

/** The same, as those who write it for speed do: known connections first, and one set of addresses for each end. */
function nftRules(client: RigPod, server: RigPod): string {
  const blocks = Array.from({ length: ruleCount - 1 }, (_, at) => blockAt(at));
  return [
    "table inet bench {",
    `  set clients { type ipv4_addr; elements = { ${[...blocks, client.ipv4].join(", ")} } }`,
    `  set servers { type ipv4_addr; elements = { ${[...blocks, server.ipv4].join(", ")} } }`,
    "  chain forward {",
    "    type filter hook forward priority 0; policy accept;",
    "    ct state established,related accept",
    `    ip saddr ${client.ipv4} ip daddr @servers tcp dport ${servedPort} jump ingress`,
    `    ip saddr ${client.ipv4} drop`,
    `    ip daddr ${server.ipv4} drop`,
    "  }",
    `  chain ingress { ip daddr ${server.ipv4} ip saddr @clients accept; }`,
    "}",
  ].join("\n");
}

const blockAt = (at: number): string => `203.${at >> 8}.${at & 255}.1`;

function nft(rig: PolicyRig, text: string): void {
  execFileSync("nsenter", [`--net=${rig.network.node.path}`, "nft", "-f", "-"], { input: `${text}\n` });
}
