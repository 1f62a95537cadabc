import {
  identityKey,
  type Action,
  type HookPoint,
  type KernelPort,
  type KnownHooks,
  type ObservedHook,
} from "@bpfleet/kernel";

interface Seen extends KnownHooks {
  /** When the kernel was looked at as a whole. */
  readonly atMs: number;
}

/** Hooks as the last look at them saw them, for as long as nothing is known to have touched them. */
export class SeenHooks {
  readonly #driftMs: number;
  #seen: Seen | undefined;
  #placeChanges = 0;

  /** `driftMs`: between two looks at the whole kernel. */
  constructor(driftMs: number) {
    this.#driftMs = driftMs;
  }

  /** Until the kernel is to be looked at as a whole. */
  leftMs(now: number): number {
    return this.#seen === undefined ? this.#driftMs : this.#seen.atMs + this.#driftMs - now;
  }

  placesChanged(): void {
    this.#seen = undefined;
    this.#placeChanges++;
  }

  /** For a pass that begins now; until `keep` is called nothing is known, since the pass may end anywhere. */
  take(now: number): {
    readonly known: KnownHooks | undefined;
    keep(hooks: readonly ObservedHook[], actions: readonly Action[]): void;
  } {
    const known = this.leftMs(now) > 0 ? this.#seen : undefined;
    const placeChanges = this.#placeChanges;
    this.#seen = undefined;
    return {
      known,
      keep: (hooks, actions) => {
        if (placeChanges !== this.#placeChanges) return;
        this.#seen = { hooks, again: new Set(actions.flatMap(touchedHook)), atMs: known?.atMs ?? now };
      },
    };
  }

  /** What was changed just now is looked at before anybody waits for it. */
  async lookAtTouched(kernel: Pick<KernelPort, "observe">): Promise<void> {
    const seen = this.#seen;
    if (seen === undefined || seen.again.size === 0) return;
    const { hooks } = await kernel.observe(seen);
    if (this.#seen === seen) this.#seen = { ...seen, hooks, again: new Set() };
  }
}

/** The key under which it is observed. */
function touchedHook(action: Action): readonly string[] {
  if (action.do === "clear-hook") return [action.key];
  return action.do === "set-hook" || action.do === "inline-hook" ? [identityKey(action.spec.key)] : [];
}

/** Whether the point is on one of these interfaces or cgroups; other points come and go with nothing that is told. */
export function isAt(point: HookPoint, places: ReadonlySet<string>): boolean {
  if ("interface" in point) return places.has(point.interface);
  return "path" in point && places.has(point.path);
}
