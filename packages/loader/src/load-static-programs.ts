import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { errorText, refKey } from "@bpfleet/base";
import type { Agent, DirectoryStore } from "@bpfleet/agent";
import { isStatic } from "./declaration.ts";
import { parseStaticPrograms, type StaticProgram } from "./static-programs.ts";

export interface StaticProgramsNode {
  readonly store: Pick<DirectoryStore, "write" | "remove">;
  readonly agent: Pick<Agent, "report" | "sync">;
  readonly onNotice: (notice: string) => void;
}

/**
 * Declares what the `.toml` files of a folder say, and takes back what they said once and say no more. While one of them
 * cannot be read nothing is taken back.
 */
export async function loadStaticPrograms(
  folder: string,
  { store, agent, onNotice }: StaticProgramsNode,
): Promise<void> {
  const { programs, isWhole } = await readFolder(folder, onNotice);
  for (const [file, { ref, config }] of programs.values())
    await store.write({
      ref,
      value: config,
      text: JSON.stringify(config, undefined, 2),
      source: { file, line: 1, isRendered: true },
    });
  const { objects } = await agent.report();
  const left = objects.filter(({ ref, object }) => isStatic(object) && !programs.has(refKey(ref)));
  if (isWhole) for (const { ref } of left) await store.remove(ref);
  if (programs.size > 0 || left.length > 0) await agent.sync();
}

async function readFolder(
  folder: string,
  onNotice: (notice: string) => void,
): Promise<{ readonly programs: ReadonlyMap<string, readonly [string, StaticProgram]>; readonly isWhole: boolean }> {
  const programs = new Map<string, readonly [string, StaticProgram]>();
  let isWhole = true;
  const fail = (path: string, why: unknown): void => {
    isWhole = false;
    onNotice(`read ${path}: ${errorText(why)}`);
  };
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "ENOENT") fail(folder, error);
    return [];
  });
  for (const name of names.filter((each) => each.endsWith(".toml")).toSorted()) {
    const path = join(folder, name);
    try {
      for (const program of parseStaticPrograms(await readFile(path, "utf8"))) {
        const key = refKey(program.ref);
        const [other] = programs.get(key) ?? [];
        if (other === undefined) programs.set(key, [path, program]);
        else
          fail(
            path,
            `${program.ref.name.slice("static-".length)} is declared in ${other} already; give it another name`,
          );
      }
    } catch (error) {
      fail(path, error);
    }
  }
  return { programs, isWhole };
}
