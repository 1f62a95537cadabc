import * as fs from "node:fs";
import { dirname } from "node:path";

/** Who may open the maps below `<bpffs>/maps`. */
export interface PinAccess {
  /** Group id of folders and pins. */
  readonly group?: number | undefined;
  /** Of the pins; 0640 when not given. Folders may be entered by whom this lets read. */
  readonly mode?: number | undefined;
}

const folderMode = 0o750;

/** The folder and those above it up to `top`, each as `access` says. */
export function makePinFolders(top: string, folder: string, access: PinAccess = {}): void {
  if (folder !== top) makePinFolders(top, dirname(folder), access);
  if (fs.existsSync(folder)) return;
  fs.mkdirSync(folder);
  openFolder(folder, access);
}

/** What is there already, for whom may open it now: the folders up to `top`, and the file with this mode. */
export function reopen(top: string, path: string, access: PinAccess, mode = access.mode ?? 0o640): void {
  for (let folder = dirname(path); folder.startsWith(top); folder = dirname(folder)) openFolder(folder, access);
  own(path, access.group);
  fs.chmodSync(path, mode);
}

function openFolder(folder: string, { group, mode = 0o640 }: PinAccess): void {
  fs.chmodSync(folder, (mode & 0o004) === 0 ? folderMode : folderMode | 0o005);
  own(folder, group);
}

export function openPin(path: string, { group, mode = 0o640 }: PinAccess = {}): void {
  fs.chmodSync(path, mode);
  if (group !== undefined) own(path, group);
}

/** The daemon's own: in a cluster it is not root, and may give nothing away to root. */
export function own(path: string, group?: number): void {
  fs.chownSync(path, process.geteuid?.() ?? 0, group ?? process.getegid?.() ?? 0);
}

/** The folder and those above it up to `top`, as long as nothing is in them. */
export function removeEmptyFolders(top: string, folder: string): void {
  try {
    fs.rmdirSync(folder);
  } catch {
    return; // Others have pins there, or it is gone.
  }
  if (folder !== top) removeEmptyFolders(top, dirname(folder));
}
