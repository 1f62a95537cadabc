import { spawn } from "node:child_process";
import { once } from "node:events";
import type { KubeObject } from "@bpfleet/kinds";
import { podKey, rigPod, type RigPod } from "../../test/kernel/policy-rig/pod-network.ts";
import type { Probe } from "../../test/kernel/policy-rig/prober.ts";
import { namespaceObject, podObject, PolicyRig, refOfPolicy } from "../../test/kernel/policy-rig/policy-rig.ts";
import { answer, median, quantile, type BenchContext, type BenchQuestion, type BenchResult } from "../result.ts";

/** As many as a kubelet takes. */
const endpoints = 110;
/** A probe that is let through is answered in a tenth of that. */
const quietMs = 4;
const peer = "nft add rule";

export const question: BenchQuestion = {
  name: "policy.enforced",
  asks: "how long from a written policy to the first packet that it stops, among 110 pods: of a pod that none selected before, and by the edit of a policy",
  async ask(context) {
    const pods = Array.from({ length: endpoints }, (_, at) => rigPod("shop", `pod-${at}`, at + 1));
    await using rig = await PolicyRig.make("routed", pods, { ports: [80] });
    const labelsOf = (pod: RigPod) => ({ app: pod.name });
    await rig.change({
      write: [
        namespaceObject("shop", {}),
        ...pods.map((pod) => podObject(pod, rig.network.netnsOf(pod), labelsOf(pod))),
      ],
    });
    const created = await timeCreation(rig, pods, context);
    return [...created, ...(await timeEdits(rig, pods, context))];
  },
};

/** Policies of one pod each, one after the other: each stops packets that went through until then. */
async function timeCreation(
  rig: PolicyRig,
  pods: readonly RigPod[],
  { isQuick, progress }: BenchContext,
): Promise<readonly BenchResult[]> {
  const ours: number[] = [];
  const [client] = pods;
  if (client === undefined) throw new TypeError("benchmark: there is no pod");
  const written: KubeObject[] = [];
  for (const [at, pod] of pods.slice(1, isQuick ? 12 : undefined).entries()) {
    const policy = closingPolicy(pod);
    written.push(policy);
    const ms = await untilStopped(rig, probeOf(client, pod), () => rig.change({ write: [policy] }));
    // The first one loads the programs.
    if (at === 0) progress(`the first policy is enforced after ${Math.round(ms)} ms`);
    else ours.push(ms);
  }
  for (const policy of written) await rig.change({ remove: [refOfPolicy(policy)] });
  const theirs = await timeNft(rig, client, pods.slice(1, isQuick ? 12 : undefined));
  return [
    answer("policy.enforced.p50-ms", "ms", median(ours), peer, median(theirs)),
    answer("policy.enforced.p99-ms", "ms", quantile(ours, 0.99), peer, quantile(theirs, 0.99), "< 50 ms"),
  ];
}

/** Policies that let everybody through until they are edited: their pods are judged already. */
async function timeEdits(
  rig: PolicyRig,
  pods: readonly RigPod[],
  { isQuick }: BenchContext,
): Promise<readonly BenchResult[]> {
  const [client] = pods;
  if (client === undefined) throw new TypeError("benchmark: there is no pod");
  const judged = pods.slice(1, isQuick ? 12 : undefined);
  await rig.change({ write: judged.map((pod) => policyOf(`close-${pod.name}`, pod, [{}])) });
  const ours: number[] = [];
  for (const pod of judged)
    ours.push(await untilStopped(rig, probeOf(client, pod), () => rig.change({ write: [closingPolicy(pod)] })));
  await rig.change({ remove: judged.map((pod) => refOfPolicy(closingPolicy(pod))) });
  const theirs = await timeNft(rig, client, judged);
  return [
    answer("policy.enforced.edit.p50-ms", "ms", median(ours), peer, median(theirs)),
    answer("policy.enforced.edit.p99-ms", "ms", quantile(ours, 0.99), peer, quantile(theirs, 0.99), "< 50 ms"),
  ];
}

async function timeNft(rig: PolicyRig, client: RigPod, pods: readonly RigPod[]): Promise<readonly number[]> {
  const theirs: number[] = [];
  await nft(rig, "add table inet bench", "add chain inet bench forward { type filter hook forward priority 0; }");
  for (const pod of pods)
    theirs.push(
      await untilStopped(rig, probeOf(client, pod), () =>
        nft(rig, `add rule inet bench forward ip daddr ${pod.ipv4} drop`),
      ),
    );
  await nft(rig, "delete table inet bench");
  return theirs;
}

function closingPolicy(pod: RigPod): KubeObject {
  return policyOf(`close-${pod.name}`, pod, []);
}

function policyOf(name: string, pod: RigPod, ingress: readonly object[]): KubeObject {
  return {
    apiVersion: "networking.k8s.io/v1",
    kind: "NetworkPolicy",
    metadata: { name, namespace: pod.namespace },
    spec: { podSelector: { matchLabels: { app: pod.name } }, policyTypes: ["Ingress"], ingress },
  };
}

function probeOf(from: RigPod, to: RigPod): Probe {
  return { from: podKey(from), to: to.ipv4, protocol: "UDP", port: 80 };
}

/** From the begin of `work` to the sending of the first packet that got no answer. */
async function untilStopped(rig: PolicyRig, probe: Probe, work: () => Promise<unknown>): Promise<number> {
  const begunMs = performance.now();
  const working = work();
  for (;;) {
    const sentMs = performance.now();
    const [met] = await rig.prober.probe([probe], quietMs);
    if (met !== "answered") {
      await working;
      return sentMs - begunMs;
    }
    if (sentMs - begunMs > 60_000) throw new Error("benchmark: a policy stops nothing after a minute");
  }
}

async function nft(rig: PolicyRig, ...lines: readonly string[]): Promise<void> {
  const child = spawn("nsenter", [`--net=${rig.network.node.path}`, "nft", "-f", "-"], {
    stdio: ["pipe", "inherit", "inherit"],
  });
  child.stdin.end(`${lines.join("\n")}\n`);
  const [code] = (await once(child, "exit")) as [number | null];
  if (code !== 0) throw new Error(`benchmark: nft ended with ${code}`);
}
