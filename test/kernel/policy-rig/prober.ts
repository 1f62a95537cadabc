import { execFileSync, spawn, type ChildProcessWithoutNullStreams } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";

export type Protocol = "TCP" | "UDP" | "SCTP" | "ICMP";

export interface Probe {
  /** Name of the place that sends. */
  readonly from: string;
  readonly to: string;
  readonly protocol: Protocol;
  /** 0 for ICMP. */
  readonly port: number;
}

/** What a probe met: the answer came back; it arrived, but no answer came back; it was refused; nothing. */
export type Met = "answered" | "arrived" | "refused" | "nothing";

const words: Readonly<Record<string, Met>> = { y: "answered", a: "arrived", r: "refused", n: "nothing" };

/** Servers and clients in network namespaces, all of one process (`prober.c`). */
export class Prober implements AsyncDisposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;
  readonly #places: ReadonlyMap<string, number>;
  #turn: Promise<unknown> = Promise.resolve();
  /** By their ids: probes that met nothing, and have not arrived since. */
  readonly #givenUp = new Map<number, Probe>();
  readonly #late: Probe[] = [];
  readonly #flows = new Map<number, Probe>();

  private constructor(child: ChildProcessWithoutNullStreams, names: readonly string[]) {
    this.#child = child;
    this.#places = new Map(names.map((name, at) => [name, at]));
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    child.stdin.on("error", () => undefined);
  }

  /** Compiles it into `folder`; `places`: the path of each namespace by its name. */
  static start(folder: string, places: Readonly<Record<string, string>>): Prober {
    const program = join(folder, "prober");
    execFileSync("cc", ["-O1", "-Wall", "-o", program, join(import.meta.dirname, "prober.c")]);
    const child = spawn(program, Object.values(places), { stdio: ["pipe", "pipe", "inherit"] }) as never;
    return new Prober(child, Object.keys(places));
  }

  async listen(place: string, protocol: Exclude<Protocol, "ICMP">, ...ports: readonly number[]): Promise<void> {
    for (const port of ports) await this.#ask(`listen ${this.#at(place)} ${protocol.toLowerCase()} ${port}`);
  }

  /** All at once. What is not answered is given up when nothing has come for so long. */
  async probe(probes: readonly Probe[], quietMs = 40): Promise<readonly Met[]> {
    if (probes.length === 0) return [];
    const lines = probes.map(
      ({ from, to, protocol, port }) => `${this.#at(from)} ${protocol.toLowerCase()} ${to} ${port}`,
    );
    return this.#met(probes, await this.#ask([`probe ${quietMs} ${probes.length}`, ...lines].join("\n")));
  }

  /** Of all probes that met nothing, those that arrived after they were given up; waits until nothing has come for so long. */
  async late(quietMs = 200): Promise<readonly Probe[]> {
    this.#met([], await this.#ask(`probe ${quietMs} 0`));
    return [...this.#late];
  }

  /** A flow that stays open; `undefined` when it is not let through. */
  async open(probe: Probe): Promise<number | undefined> {
    const { from, to, protocol, port } = probe;
    const answer = await this.#ask(`open ${this.#at(from)} ${protocol.toLowerCase()} ${to} ${port}`);
    if (answer === "refused") return undefined;
    this.#flows.set(Number(answer), probe);
    return Number(answer);
  }

  /** Sends over an open flow. */
  async poke(flow: number, quietMs = 40): Promise<Met> {
    const probe = this.#flows.get(flow);
    if (probe === undefined) throw new RangeError(`find flow ${flow}: it is not open`);
    const [met] = this.#met([probe], await this.#ask(`poke ${quietMs} ${flow}`));
    return met ?? "nothing";
  }

  async close(flow: number): Promise<void> {
    await this.#ask(`close ${flow}`);
    this.#flows.delete(flow);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const ended = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await ended;
  }

  #at(place: string): number {
    const at = this.#places.get(place);
    if (at === undefined) throw new RangeError(`find place ${place}: there is none`);
    return at;
  }

  #met(probes: readonly Probe[], answer: string): readonly Met[] {
    const [results = "", first, ...late] = answer.split(" ");
    for (const id of late.map(Number)) {
      const probe = this.#givenUp.get(id);
      if (probe === undefined || !this.#givenUp.delete(id)) continue;
      this.#late.push(probe);
    }
    const met = [...results].map((letter) => words[letter] ?? "nothing");
    for (const [at, probe] of probes.entries()) if (met[at] === "nothing") this.#givenUp.set(Number(first) + at, probe);
    return met;
  }

  #ask(command: string): Promise<string> {
    const answer = this.#turn.then(async () => {
      this.#child.stdin.write(`${command}\n`);
      const { done, value } = await this.#lines.next();
      if (done === true) {
        const { exitCode, signalCode } = this.#child;
        throw new Error(`ask the prober: it ended (${signalCode ?? exitCode}) over ${command.slice(0, 60)}`);
      }
      return value;
    });
    this.#turn = answer.catch(() => undefined);
    return answer;
  }
}
