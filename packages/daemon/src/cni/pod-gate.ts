import { errorText } from "@bpfleet/base";
import { hooksAt, judgedAt, policyTableKey, type JudgedInterface } from "@bpfleet/features";
import type { EndpointWish, NodeFacts, NodePlan, PolicyReach } from "@bpfleet/kernel";
import type { DaemonResults } from "../daemon.ts";
import type { Announcement, CniAnswer } from "./announcement.ts";
import { isOf } from "./announced-pods.ts";

export interface PodGateParts {
  readonly facts: () => NodeFacts;
  readonly results: () => DaemonResults;
  /** Of the interface of a pod whose connections are all younger than its policy. */
  readonly endGrace: (ifindex: number) => Promise<void>;
}

/** What an agent has told of the pods of this node. */
export interface WishedPods {
  readonly wishes: readonly EndpointWish[];
  readonly reach: PolicyReach;
}

/** Plans whose results may still come. */
const plansKept = 16;

/** Knows when a pod may start: when its policy is in force at its interface, or none selects it. */
export class PodGate {
  readonly #parts: PodGateParts;
  readonly #waiting = new Set<() => void>();
  /** By revision: where it judges. */
  readonly #judged = new Map<number, ReadonlyMap<number, JudgedInterface>>();
  /** Of the plan that came last: most plans judge at the same interfaces as the one before. */
  #lastJudged: ReadonlyMap<number, JudgedInterface> = new Map();
  #wished: WishedPods | undefined;
  #onWished: ((wished: WishedPods) => void) | undefined;

  constructor(parts: PodGateParts) {
    this.#parts = parts;
  }

  onWished(callback: (wished: WishedPods) => void): void {
    this.#onWished = callback;
  }

  wishesAre(wished: WishedPods): void {
    this.#wished = wished;
    this.#onWished?.(wished);
    this.look();
  }

  planned(revision: number, plan: NodePlan): void {
    this.#lastJudged = likeBefore(judgedAt(plan), this.#lastJudged);
    this.#judged.set(revision, this.#lastJudged);
    const present = this.#parts.results().revision;
    for (const old of this.#judged.keys()) if (old < present && this.#judged.size > plansKept) this.#judged.delete(old);
  }

  /** Facts or results are other ones. */
  look(): void {
    for (const wake of this.#waiting) wake();
  }

  /** What holds now. */
  judge(announced: Announcement): CniAnswer {
    const results = this.#parts.results();
    if (results.isPaused) return { is: "free", why: "paused" };
    if (this.#wished === undefined)
      return { is: "unknown", why: "the daemon has not heard yet from its agent whom policies select" };
    const { wishes, reach } = this.#wished;
    const wish = wishes.find((each) => isOf(each, announced));
    if (wish === undefined) {
      if (reach !== "everywhere" && !reach.includes(announced.pod.namespace)) return { is: "free" };
      return { is: "unknown", why: "the agent has not seen the pod yet" };
    }
    return wish.isSelected === true ? this.#judgeSelected(wish, announced, results) : { is: "free" };
  }

  /** `wait` for a pod of which no process has run yet: it can have no connections that nobody saw begin. */
  async admit(announced: Announcement, timeoutMs: number, signal: AbortSignal): Promise<CniAnswer> {
    const answer = await this.wait(announced, timeoutMs, signal);
    const ifindex = answer.is === "in-force" ? this.#restrictedOf(announced) : undefined;
    if (ifindex === undefined) return answer;
    try {
      await this.#parts.endGrace(ifindex);
    } catch (error) {
      return { is: "late", why: errorText(error) };
    }
    return answer;
  }

  /** As soon as it may start, or when the time is over, or the one who asked is gone. */
  async wait(announced: Announcement, timeoutMs: number, signal: AbortSignal): Promise<CniAnswer> {
    const end = performance.now() + timeoutMs;
    for (;;) {
      const answer = this.judge(announced);
      const leftMs = end - performance.now();
      if ((answer.is !== "late" && answer.is !== "unknown") || leftMs <= 0 || signal.aborted) return answer;
      await this.#change(leftMs, signal);
    }
  }

  #judgeSelected(wish: EndpointWish, announced: Announcement, results: DaemonResults): CniAnswer {
    const facts = this.#parts.facts().endpoints?.[wish.key];
    if (facts === undefined) return { is: "late", why: "its interface is being looked for" };
    if (!facts.found) return { is: facts.isFinal ? "unjudged" : "late", why: facts.why };
    // Of a sandbox before this one.
    if (announced.namespaceId !== undefined && facts.namespaceId !== announced.namespaceId)
      return { is: "late", why: `${facts.interface} leads to another network namespace` };
    const judged = this.#judged.get(results.revision)?.get(facts.ifindex);
    if (judged === undefined) return { is: "late", why: `nothing is planned yet for ${facts.interface}` };
    const wanted = new Set([...hooksAt(judged).map((key) => `hook ${key}`), `map ${policyTableKey}`]);
    const states = results.items.filter(({ item, key }) => wanted.has(`${item} ${key}`));
    const missing = states.find(({ state }) => state !== "in-force");
    if (states.length === wanted.size && missing === undefined) return { is: "in-force" };
    const why = missing?.error?.message ?? results.trouble ?? `${facts.interface} is being attended to`;
    return { is: "late", why };
  }

  #restrictedOf(announced: Announcement): number | undefined {
    const wish = this.#wished?.wishes.find((each) => isOf(each, announced));
    const facts = wish && this.#parts.facts().endpoints?.[wish.key];
    if (facts?.found !== true) return undefined;
    const judged = this.#judged.get(this.#parts.results().revision)?.get(facts.ifindex);
    return judged?.isRestricted === true ? facts.ifindex : undefined;
  }

  async #change(leftMs: number, signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        this.#waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      const timer = setTimeout(wake, leftMs);
      this.#waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
}

/** What is as it was before is the value from before. */
function likeBefore(
  now: ReadonlyMap<number, JudgedInterface>,
  before: ReadonlyMap<number, JudgedInterface>,
): ReadonlyMap<number, JudgedInterface> {
  let isSame = now.size === before.size;
  const shared = new Map<number, JudgedInterface>();
  for (const [ifindex, judged] of now) {
    const known = before.get(ifindex);
    const isKnown = known?.name === judged.name && known.isRestricted === judged.isRestricted;
    shared.set(ifindex, isKnown ? known : judged);
    isSame &&= isKnown;
  }
  return isSame ? before : shared;
}
