import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A folder that goes with the scope it was made in. */
export class TempFolder implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "bpfleet-kube-"));

  write(name: string, text: string, mode: number = 0o600): string {
    const path = join(this.path, name);
    writeFileSync(path, text);
    chmodSync(path, mode);
    return path;
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
