import { randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { errorText } from "@bpfleet/base";
import { emptyJournal, type Journal, type NodePlan } from "@bpfleet/kernel";
import { isSamePlan, parsePlan, planVersion, renderPlan } from "./plan-text.ts";
import { SealedFiles } from "./sealed-files.ts";
import { StateFile } from "./state-file.ts";

/** What the daemon knows from before its start. */
export interface Remembered {
  readonly plan: NodePlan | undefined;
  readonly journal: Journal;
  readonly isPaused: boolean;
  readonly hashSeed: number;
  /** Why the last plan was left aside though it could be read: the kernel is ahead of it. */
  readonly ahead?: string | undefined;
  /** What could not be read or written, one sentence each. */
  readonly unusable: readonly string[];
}

/** The daemon's memory: what must survive the process, and for the plan and the pause also a reboot. */
export class NodeState {
  readonly #plan: StateFile;
  readonly #sealed: SealedFiles;
  readonly #journal: StateFile;
  readonly #pause: StateFile;
  readonly #seed: StateFile;
  /** A folder that is there while the kernel may hold what the plan on the disk does not say. */
  readonly #ahead: string | undefined;
  #isAhead: boolean;
  /** Of what rules counted; whoever keeps it reads and writes it. */
  readonly rules: StateFile;
  #savedPlan: NodePlan | undefined;
  /** The plan that was saved last, with its files. */
  #isDurable = false;

  /** `pinRoot`: where pins are. What is known of the kernel alone lives and goes with them. */
  constructor(directory: string, pinRoot?: string) {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    chmodSync(directory, 0o700);
    this.#plan = new StateFile(join(directory, "plan"), "plan", planVersion);
    this.#sealed = new SealedFiles(join(directory, "sealed"));
    this.#journal = new StateFile(join(directory, "journal"), "journal", 1);
    this.#pause = new StateFile(join(directory, "paused"), "paused", 1);
    this.rules = new StateFile(join(directory, "rules"), "rules", 1);
    this.#seed = new StateFile(join(directory, "hash-seed"), "hash-seed", 1);
    this.#ahead = pinRoot === undefined ? undefined : join(pinRoot, "bpfleet", "ahead-of-disk");
    this.#isAhead = this.#ahead !== undefined && existsSync(this.#ahead);
  }

  async load(): Promise<Remembered> {
    const unusable: string[] = [];
    const read = <T>(file: StateFile, parse: (text: string) => T): T | undefined => {
      const loaded = file.load();
      if (loaded.is === "unusable") unusable.push(loaded.why);
      return loaded.is === "there" ? parse(loaded.text) : undefined;
    };
    const parsePlanText = (text: string): NodePlan | undefined => {
      try {
        return parsePlan(text, (file) => this.#sealed.load(file));
      } catch (error) {
        unusable.push(`read ${this.#plan.path}: ${errorText(error)}`);
        return undefined;
      }
    };
    const plan = this.#isAhead ? undefined : read(this.#plan, parsePlanText);
    const ahead = `use ${this.#plan.path}: what is in force is newer, and stays so until an agent hands in a plan`;
    return {
      plan,
      ...(this.#isAhead && { ahead }),
      journal: read(this.#journal, (text) => JSON.parse(text) as Journal) ?? emptyJournal,
      // A damaged mark still says that somebody pulled the emergency switch.
      isPaused: this.#pause.load().is !== "absent",
      hashSeed: read(this.#seed, Number) ?? (await this.#newSeed(unusable)),
      unusable,
    };
  }

  /** Where it cannot be written, the one before it is not what a restarted daemon goes back to. */
  async savePlan(plan: NodePlan): Promise<{ readonly durable: Promise<void> }> {
    try {
      const saved = await this.#savePlan(plan);
      this.#markAhead(false);
      return saved;
    } catch (error) {
      this.#markAhead(true);
      throw error;
    }
  }

  /** A plan comes into force that is not to be kept. */
  passOver(): void {
    this.#markAhead(true);
  }

  #markAhead(isAhead: boolean): void {
    if (this.#ahead === undefined || isAhead === this.#isAhead) return;
    if (isAhead) mkdirSync(this.#ahead, { recursive: true, mode: 0o700 });
    else rmSync(this.#ahead, { recursive: true, force: true });
    this.#isAhead = isAhead;
  }

  async #savePlan(plan: NodePlan): Promise<{ readonly durable: Promise<void> }> {
    const saved = { durable: Promise.resolve() };
    const before = this.#savedPlan;
    if (plan === before) return saved;
    if (before !== undefined && isSamePlan(before, plan)) {
      this.#savedPlan = plan;
      return saved;
    }
    // The files of the plan before it stay until this one is there, and survives a power cut.
    if (this.#isDurable && before !== undefined) await this.#sealed.keepOnly([before, plan]);
    this.#isDurable = false;
    const written = await this.#sealed.saveWith(plan, () =>
      this.#plan.save(renderPlan(plan, (spec) => this.#sealed.nameOf(spec))),
    );
    this.#savedPlan = plan;
    const durable = written.durable.then(() => {
      this.#isDurable = this.#savedPlan === plan;
    });
    durable.catch(() => undefined);
    return { durable };
  }

  /** It speaks of the running kernel only, so it need not survive a reboot. */
  async saveJournal(journal: Journal): Promise<void> {
    await this.#journal.save(JSON.stringify(journal));
  }

  async savePaused(isPaused: boolean): Promise<void> {
    if (!isPaused) return this.#pause.remove();
    const { durable } = await this.#pause.save("paused");
    await durable;
  }

  /** Another one after the next start makes other programs, and nothing worse. */
  async #newSeed(unusable: string[]): Promise<number> {
    const seed = randomBytes(4).readUInt32LE();
    try {
      await (
        await this.#seed.save(`${seed}`)
      ).durable;
    } catch (error) {
      unusable.push(errorText(error));
    }
    return seed;
  }
}
