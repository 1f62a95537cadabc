import { existsSync, mkdirSync, renameSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { open, mkdir, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

let serial = 0;

/** Names of files that are still being written; readers of a directory pass them by. */
export function isUnfinished(name: string): boolean {
  return name.startsWith(".") && name.endsWith(".tmp");
}

const together = /^\.together\.(\d+)\.\d+\.tmp$/;

/** The process that changes several files of the directory as one while a file of this name is there. */
export function changerOf(name: string): number | undefined {
  const [, pid] = together.exec(name) ?? [];
  return pid === undefined ? undefined : Number(pid);
}

/** So often who changes several files as one shows that it is at it yet; readers wait for some of these. */
const touchMs = 500;
/** Who takes longer for it is stuck. */
const mostTouches = 600;

/**
 * Until it is disposed of, readers of the directory wait with what changes below it, as long as this process gets its
 * turns: work in between must yield.
 */
export function changeTogether(directory: string): Disposable {
  mkdirSync(directory, { recursive: true });
  const path = join(directory, `.together.${process.pid}.${serial++}.tmp`);
  writeFileSync(path, "", { flag: "wx" });
  let touches = 0;
  const touch = (): void => {
    if (++touches >= mostTouches) clearInterval(touching);
    const now = new Date();
    try {
      utimesSync(path, now, now);
    } catch {
      // Somebody removed it: nobody waits any more.
    }
  };
  const touching = setInterval(touch, touchMs).unref();
  return {
    [Symbol.dispose]: () => {
      clearInterval(touching);
      rmSync(path, { force: true });
    },
  };
}

/** Between two turns, so many files take their places. */
const renamesInTurn = 64;

export interface AtomicOptions {
  /** 0644 when not given. */
  readonly mode?: number | undefined;
  /** False for what can be made again: then a power cut may bring the old text back, or an empty file. */
  readonly isDurable?: boolean | undefined;
}

/**
 * Replaces a file in one step: readers see the old text or the new text, never a part, whatever is killed
 * and when. Makes missing directories. Durable when the promise resolves.
 */
export async function writeFileAtomically(path: string, text: string, options: AtomicOptions = {}): Promise<void> {
  await writeFilesAtomically([{ path, text, mode: options.mode }], options);
}

export interface NewFile {
  readonly path: string;
  readonly text: string;
  /** 0644 when not given. */
  readonly mode?: number | undefined;
}

/**
 * Several files at once: all are written before the first takes its place, and then all do within a moment, for which
 * readers of the directory `within` wait. Where one
 * takes the place of an earlier one all are on the disk before; new ones, of which nothing can be lost, get there after.
 */
export async function writeFilesAtomically(
  files: readonly NewFile[],
  { isDurable = true, within }: Pick<AtomicOptions, "isDurable"> & { readonly within?: string } = {},
): Promise<void> {
  const drafts: { readonly unfinished: string; readonly path: string }[] = [];
  const isReplacing = files.some(({ path }) => existsSync(path));
  const placed: string[] = [];
  try {
    for (const { path, text, mode } of files) {
      const directory = dirname(path);
      await mkdir(directory, { recursive: true });
      const unfinished = join(directory, `.${basename(path).slice(0, 200)}.${process.pid}.${serial++}.tmp`);
      drafts.push({ unfinished, path });
      await using file = await open(unfinished, "wx", mode ?? 0o644);
      await file.writeFile(text);
      if (isDurable && isReplacing) await file.sync();
    }
    using _together = within === undefined || drafts.length < 2 ? undefined : changeTogether(within);
    let renamed = 0;
    for (const { unfinished, path } of drafts) {
      renameSync(unfinished, path);
      if (!isReplacing) placed.push(path);
      if (++renamed % renamesInTurn === 0) await nextTurn();
    }
    if (isDurable && !isReplacing) for (const path of placed) await syncFile(path);
  } catch (error) {
    for (const { unfinished } of drafts) await rm(unfinished, { force: true });
    for (const path of placed) await rm(path, { force: true });
    throw error;
  }
  if (isDurable)
    for (const directory of new Set(files.map(({ path }) => dirname(path)))) await syncDirectory(directory);
}

async function syncFile(path: string): Promise<void> {
  await using file = await open(path, "r");
  await file.sync();
}

/** Makes a rename or removal in the directory survive a power cut; file systems that cannot are left alone. */
export async function syncDirectory(directory: string): Promise<void> {
  try {
    await using handle = await open(directory, "r");
    await handle.sync();
  } catch {
    // The change is done; only its durability over a power cut is not promised on such a file system.
  }
}
