import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { buildLayer, composeImage, renderArchive } from "../../../tools/images/image.ts";
import type { LayerEntry } from "../../../tools/images/layer.ts";

const busybox = "/bin/busybox";

/** `localhost/busybox:1`, and `localhost/pause:1` that holds the namespaces of a pod: Debian's static busybox. */
export function writeTestImages(path: string): void {
  const commands = execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n");
  const folder = (name: string, mode = 0o755): LayerEntry => ({ kind: "folder", path: name, mode });
  const layer = buildLayer([
    { kind: "file", path: "bin/busybox", mode: 0o755, bytes: readFileSync(busybox) },
    ...commands
      .filter((name) => name !== "busybox")
      .map((name): LayerEntry => ({ kind: "link", path: `bin/${name}`, target: "busybox" })),
    ...["dev", "etc", "proc", "root", "sys", "var"].map((name) => folder(name)),
    folder("tmp", 0o1777),
    { kind: "file", path: "etc/passwd", mode: 0o644, bytes: Buffer.from("root:x:0:0:root:/root:/bin/sh\n") },
  ]);
  const architecture = process.arch === "x64" ? "amd64" : process.arch;
  const pause = "trap 'exit 0' TERM INT; while :; do sleep 3600 & wait; done";
  const env = ["PATH=/bin"];
  const images = new Map([
    ["localhost/busybox:1", composeImage([layer], { Entrypoint: ["/bin/sh"], Env: env }, architecture)],
    ["localhost/pause:1", composeImage([layer], { Entrypoint: ["/bin/sh", "-c", pause], Env: env }, architecture)],
  ]);
  writeFileSync(path, renderArchive(images));
}
