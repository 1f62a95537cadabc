import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { KernelSandbox } from "@bpfleet/native/testing";
import { DaemonProcess } from "./daemon-process.ts";
import type { TestDaemonOptions, TestFilter } from "./run-daemon.ts";

export const target = "10.9.0.2";
/** Blocked by the plans of these tests. */
export const always = "10.9.0.11";
/** Never blocked. */
export const never = "10.9.0.12";

/** Two namespaces; the daemon works in `far`, on `v0`, and sees what `near` sends. */
export class Scene implements AsyncDisposable {
  readonly sandbox: KernelSandbox;
  readonly near: string;
  readonly far: string;
  readonly options: TestDaemonOptions;

  private constructor(bpffs: string, sandbox: KernelSandbox) {
    this.sandbox = sandbox;
    const { near, far } = sandbox.pair();
    this.near = near.name;
    this.far = far.name;
    this.addSources();
    this.options = { bpffs, state: join(sandbox.dir, "state"), socket: join(sandbox.dir, "d.sock") };
  }

  static async make(): Promise<Scene> {
    const sandbox = new KernelSandbox();
    return new Scene(await sandbox.bpffs(), sandbox);
  }

  addSources(): void {
    for (const address of [always, never]) this.sandbox.ip(this.near, "address", "add", `${address}/24`, "dev", "v0");
  }

  start(more: Partial<TestDaemonOptions> = {}): Promise<DaemonProcess> {
    return DaemonProcess.start(this.far, { ...this.options, ...more });
  }

  /** Whether a ping from this source is answered. */
  answers(source: string): boolean {
    try {
      execFileSync("ip", ["netns", "exec", this.near, "ping", "-c", "1", "-W", "1", "-s", "16", "-I", source, target], {
        stdio: "ignore",
      });
      return true;
    } catch {
      return false;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.sandbox[Symbol.asyncDispose]();
  }
}

export const blocks = (...blacklist: string[]): TestFilter => ({ name: "a", interface: "v0", blacklist });

export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 10_000): Promise<void> {
  for (const end = Date.now() + timeoutMs; !(await holds());) {
    if (Date.now() > end) throw new Error(`wait until ${what}: ${timeoutMs} ms are over`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
