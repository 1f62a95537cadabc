import { chmodSync, copyFileSync, cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bundle } from "../../tools/images/bundle.ts";
import { smallNodeWords } from "../../tools/images/node-start.ts";
import type { Programs } from "../kernel/two-processes.ts";

const root = join(import.meta.dirname, "../..");

/**
 * Daemon, agent and operator as the images have them: bundled, since sources would be measured with their compiler, and
 * over a copy of Node that nobody else has mapped, since what is shared counts in part only.
 */
export class ImagePrograms implements Programs, Disposable {
  readonly daemon: readonly string[];
  readonly agent: readonly string[];
  readonly operator: readonly string[];
  /** Starts Node alone. */
  readonly node: readonly string[];
  readonly #home: string;
  readonly #remove = (): void => rmSync(this.#home, { recursive: true, force: true });

  private constructor(home: string) {
    this.#home = home;
    // Whoever dies without disposing leaves nothing either.
    process.on("exit", this.#remove);
    this.node = smallNodeWords(join(home, "node"));
    const at = (app: string): string => join(home, "app", app);
    this.daemon = [...this.node, at("daemon.js")];
    this.agent = [...this.node, at("agent.js")];
    this.operator = [...this.node, at("operator.js")];
  }

  static async make(): Promise<ImagePrograms> {
    const home = mkdtempSync(join(tmpdir(), "bpfleet-bundle-"));
    const made = new ImagePrograms(home);
    try {
      chmodSync(home, 0o755);
      copyFileSync(process.execPath, join(home, "node"));
      const entries = Object.fromEntries(
        ["daemon", "agent", "operator"].map((app) => [app, `apps/${app}/src/main.ts`]),
      );
      const { files } = await bundle(root, entries, home);
      mkdirSync(join(home, "app"));
      for (const [name, bytes] of files) writeFileSync(join(home, "app", name), bytes);
      writeFileSync(join(home, "app/package.json"), '{"type":"module"}\n');
      cpSync(join(root, "build/native"), join(home, "build/native"), { recursive: true });
      return made;
    } catch (error) {
      made[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    this.#remove();
    process.off("exit", this.#remove);
  }
}
