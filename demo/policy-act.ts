import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Daemon } from "./daemon.ts";
import { makePods, pods } from "./network.ts";
import { ask, ebpfctl, explain, Servers } from "./processes.ts";
import type { Screen } from "./screen.ts";

const manifest = join(import.meta.dirname, "..", "examples", "policy", "shop.yaml");

/** Who may reach a database, what would let somebody else through, and that no verdict hangs on a process. */
export class PolicyAct {
  readonly #screen: Screen;
  readonly #servers: Servers;
  readonly #failures: string[] = [];

  constructor(screen: Screen) {
    this.#screen = screen;
    screen.step("two pods: network namespaces, of which Pod objects say what they are");
    screen.picture(["web ── [ this node, bpfleet ] ── db: a server on ports 5432 and 80"]);
    makePods();
    this.#servers = new Servers([5432, 80]);
  }

  /** What was not as declared. `restart` starts the daemon anew. */
  async play(daemon: Daemon, restart: () => Promise<unknown>): Promise<readonly string[]> {
    await this.#servers.ready();
    await this.#ask(80, true, "nobody has said anything of these two");
    this.#screen.quote(policyOf(readFileSync(manifest, "utf8")));
    this.#screen.step("ebpfctl apply --wait -f examples/policy/shop.yaml");
    this.#screen.output(await ebpfctl("apply", "--wait", "-f", manifest));
    await this.#askBoth();
    this.#screen.step(`ebpfctl explain -i db --direction egress ${explained(80).join(" ")}`);
    this.#screen.output(edit(await explain("db", "egress", explained(80))));
    this.#screen.step("the daemon is killed: what is in the kernel stays in force");
    await daemon.stop("SIGKILL");
    await this.#askBoth();
    await restart();
    this.#screen.step("ebpfctl policy dump db");
    this.#screen.output(await ebpfctl("policy", "dump", "db"));
    return this.#failures;
  }

  [Symbol.dispose](): void {
    this.#servers[Symbol.dispose]();
  }

  async #askBoth(): Promise<void> {
    await this.#ask(5432, true, "the rule allows it");
    await this.#ask(80, false, "no rule allows it");
  }

  async #ask(port: number, isExpected: boolean, story: string): Promise<void> {
    const isAnswered = await ask(port);
    this.#screen.answer(`web → db, TCP ${port}`, isAnswered, story);
    if (isAnswered !== isExpected)
      this.#failures.push(
        `web asks db at TCP ${port}: ${isAnswered ? "" : "not "}answered, which is not what was declared`,
      );
  }
}

function explained(port: number): readonly string[] {
  return ["--from", pods.web.address, "--to", pods.db.address, "--proto", "tcp", "--dport", String(port)];
}

/** The object that matters of the example. */
function policyOf(yaml: string): string {
  return yaml.split("---\n").at(-1) ?? "";
}

/** From the verdict on. */
function edit(text: string): string {
  return text.slice(Math.max(0, text.indexOf("verdict:")));
}
