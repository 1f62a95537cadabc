import { join } from "node:path";
import type { MemberMode } from "@bpfleet/kernel";
import { BpfMap, BpfProgram } from "./binding.ts";
import type { Chain } from "./chain.ts";
import { isThere, listNames, pinAt, removeTree, type Pins } from "./pins.ts";

/** What a chain is made of, read back from its pins. */
export interface RecordedChain {
  readonly folder: string;
  readonly generation: string;
  /** Of its main program. */
  readonly mainId: number;
}

/**
 * Pins of everything that a chain is made of, so that it is known after a restart, and so that its
 * prog array stays filled: the kernel empties one with its last pin.
 *
 *   GENERATION@MAIN-ID/{main,counters,stubs,000-stub,001-inline,…}
 */
export class ChainRecords {
  readonly #pins: Pins;

  constructor(pins: Pins) {
    this.#pins = pins;
  }

  /** Before the chain is attached: what is not recorded would not be recognised. */
  write(hookKey: string, generation: string, chain: Chain, members: readonly BpfProgram[], counters: BpfMap): void {
    const folder = join(this.#pins.chains(hookKey), `${generation}@${chain.program.info.id}`);
    removeTree(folder);
    pinAt(counters, join(folder, "counters"));
    if (chain.progArray !== undefined) pinAt(chain.progArray, join(folder, "stubs"));
    for (const [index, program] of members.entries()) {
      const mode = chain.placed[index]?.mode ?? "stub";
      pinAt(program, join(folder, `${String(index).padStart(3, "0")}-${mode}`));
    }
    pinAt(chain.program, join(folder, "main"));
  }

  find(hookKey: string, mainId: number): RecordedChain | undefined {
    return this.list(hookKey).find((chain) => chain.mainId === mainId);
  }

  /** Something that it needs to run or to be read is not pinned any more. */
  isTorn(chain: RecordedChain): boolean {
    const names = listNames(chain.folder);
    return !names.includes("counters") || (names.some((name) => name.endsWith("-stub")) && !names.includes("stubs"));
  }

  /** Chains that were written to the end: `main` is pinned last. */
  list(hookKey: string): RecordedChain[] {
    const folder = this.#pins.chains(hookKey);
    return listNames(folder).flatMap((name) => {
      const [generation = "", id = ""] = name.split("@");
      const chain = { folder: join(folder, name), generation, mainId: Number(id) };
      return isThere(join(chain.folder, "main")) ? [chain] : [];
    });
  }

  members(chain: RecordedChain): { readonly programId: number; readonly mode: MemberMode }[] {
    return listNames(chain.folder).flatMap((name) => {
      const mode = /^\d+-(inline|stub)$/.exec(name)?.[1];
      if (mode === undefined) return [];
      using program = BpfProgram.openPinned(join(chain.folder, name));
      return [{ programId: program.info.id, mode: mode as MemberMode }];
    });
  }

  /** Close it. */
  openCounters(chain: RecordedChain): BpfMap {
    return BpfMap.openPinned(join(chain.folder, "counters"));
  }

  /** Ids of the maps that the chain has for itself. */
  mapIds(chain: RecordedChain): number[] {
    return ["counters", "stubs"].flatMap((name) => {
      const path = join(chain.folder, name);
      if (!isThere(path)) return [];
      using map = BpfMap.openPinned(path);
      return [map.info.id];
    });
  }

  /** Folders of this hook other than that of the chain with this main program. */
  others(hookKey: string, mainId: number | undefined): string[] {
    const folder = this.#pins.chains(hookKey);
    return listNames(folder)
      .filter((name) => mainId === undefined || !name.endsWith(`@${mainId}`))
      .map((name) => join(folder, name));
  }

  removeFolder(hookKey: string): void {
    removeTree(this.#pins.chains(hookKey));
  }
}
