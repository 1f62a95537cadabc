import { watch } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { parseNodeProgram } from "./node-program.ts";
import { SourceError, type ProgramSource } from "./program-source.ts";

export const usualDirectory = "/run/bpfd/programs";
const pollMs = 1000;

/** The programs that `ebpfctl up` tells of on a node without a cluster: one JSON file each. */
export function directorySource(directory: string = usualDirectory): ProgramSource {
  return {
    async read(kind, name) {
      const path = join(directory, kind, `${encodeURIComponent(name)}.json`);
      try {
        return parseNodeProgram(JSON.parse(await readFile(path, "utf8")));
      } catch (cause) {
        const { code, message } = cause as NodeJS.ErrnoException;
        if (code === "ENOENT") return undefined;
        const help = code === "EACCES" ? "; run in the group that ebpfctl up --maps-group names" : "";
        throw new SourceError(`read ${path}: ${message}${help}`, { cause });
      }
    },
    async changed(kind, _name, signal) {
      const { promise, resolve } = Promise.withResolvers<void>();
      // The folder may not be there yet, and a pin may be replaced while the object stays the same.
      const timer = setTimeout(resolve, pollMs);
      const listen = watchFolder(join(directory, kind), resolve);
      signal.addEventListener("abort", () => resolve(), { once: true });
      if (signal.aborted) resolve();
      await promise;
      clearTimeout(timer);
      listen?.close();
    },
  };
}

function watchFolder(folder: string, onChange: () => void): ReturnType<typeof watch> | undefined {
  try {
    return watch(folder, () => onChange()).on("error", () => undefined);
  } catch {
    return undefined;
  }
}
