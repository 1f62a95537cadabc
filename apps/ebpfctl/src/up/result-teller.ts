import type { DaemonResults } from "@bpfleet/daemon";
import type { ItemResult } from "@bpfleet/kernel";

/** Tells in lines what changes in the kernel: hooks that come, change and go, and whatever fails. */
export class ResultTeller {
  readonly #line: (text: string) => void;
  #said = new Map<string, string>();
  #isPaused = false;
  #healedAt = 0;

  constructor(line: (text: string) => void) {
    this.#line = line;
  }

  tell(results: DaemonResults): void {
    if (results.isPaused !== this.#isPaused)
      this.#line(results.isPaused ? "paused: everything is detached" : "resumed");
    this.#isPaused = results.isPaused;
    for (const { at, what, key, item } of results.healed)
      if (at > this.#healedAt) this.#line(`put right ${item} ${key}: ${what}`);
    this.#healedAt = Math.max(this.#healedAt, ...results.healed.map(({ at }) => at));
    if (!results.isSettled) return;
    const now = new Map(results.items.flatMap((item) => textOf(item) ?? []));
    for (const [key, text] of now) if (this.#said.get(key) !== text) this.#line(`${key}: ${text}`);
    if (!results.isPaused && results.isComplete)
      for (const key of this.#said.keys()) if (!now.has(key)) this.#line(`${key}: gone`);
    this.#said = now;
  }
}

/** Maps and programs are told only when they fail: what they are there for is the hook. */
function textOf({ item, key, state, error, hook }: ItemResult): readonly [string, string][] | undefined {
  const name = `${item} ${key}`;
  if (state === "failed") return [[name, `failed: ${error?.message ?? "no reason is known"}`]];
  if (item !== "hook") return undefined;
  if (state === "withheld") return [[name, `withheld: ${error?.message ?? "what it needs failed"}`]];
  if (hook === undefined) return [[name, "in force"]];
  const modes =
    hook.chain === "direct"
      ? hook.mode
      : `${hook.mode}, ${hook.memberModes.length} programs: ${hook.memberModes.join(", ")}`;
  return [[name, `in force (${modes})${hook.reason === undefined ? "" : `: ${hook.reason}`}`]];
}
