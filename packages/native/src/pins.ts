import * as fs from "node:fs";
import { dirname, join } from "node:path";
import {
  decodeIdentity,
  decodePinName,
  encodeIdentity,
  encodePinName,
  identityKey,
  type Identity,
} from "@bpfleet/kernel";
import { isBpffs, mountBpffs } from "./binding.ts";
import { refusal, saying } from "./kernel-error.ts";

/**
 * Where everything of ours is pinned, below `<bpffs>/bpfleet`:
 *
 *   maps/KEY@GENERATION        maps and programs of the plan
 *   programs/KEY@GENERATION
 *   links/HOOK                 the link of a hook …
 *   filters/HOOK               … or, where tc has no links, the program of the filter, and
 *   places/HOOK/PLACE/         where that filter is (an empty folder, see clsact.ts)
 *   chains/HOOK/GENERATION@ID/ what a chain is made of; ID is its main program's
 *   paths/PATH                 a map that is also pinned at PATH for the user
 *
 * KEY, HOOK and PATH as encodePinName writes them.
 */
export class Pins {
  readonly bpffs: string;
  readonly root: string;

  constructor(bpffs: string) {
    this.bpffs = bpffs;
    this.root = join(bpffs, "bpfleet");
  }

  /** Mounts a bpffs where none is, and makes our folders. */
  async prepare(mount: boolean): Promise<void> {
    await saying(`mount bpffs at ${this.bpffs}`, async () => {
      fs.mkdirSync(this.bpffs, { recursive: true, mode: 0o700 });
      if (isBpffs(this.bpffs)) return;
      if (!mount)
        throw refusal(
          `use ${this.bpffs}`,
          "no bpffs is mounted there; mount one with: mount -t bpf bpf DIRECTORY",
          "invalid",
          "STATFS",
        );
      await mountBpffs(this.bpffs);
    });
  }

  /** An empty folder must not be taken for a node on which nothing of ours is. */
  check(): void {
    if (isBpffs(this.bpffs)) return;
    throw refusal(
      `use ${this.bpffs}`,
      "its bpffs was unmounted; what is attached stays until this daemon ends, and the next `ebpfctl up` mounts a new one and attaches everything again",
      "invalid",
      "STATFS",
    );
  }

  map(identity: Identity): string {
    return join(this.root, "maps", encodeIdentity(identity));
  }

  program(identity: Identity): string {
    return join(this.root, "programs", encodeIdentity(identity));
  }

  link(hookKey: string): string {
    return join(this.root, "links", encodePinName(identityKey(hookKey)));
  }

  filter(hookKey: string): string {
    return join(this.root, "filters", encodePinName(identityKey(hookKey)));
  }

  /** Where the filter of a hook is. */
  filterPlace(hookKey: string): string {
    return join(this.root, "places", encodePinName(identityKey(hookKey)));
  }

  chains(hookKey: string): string {
    return join(this.root, "chains", encodePinName(identityKey(hookKey)));
  }

  /** Remembers that the pin at `path` is ours. */
  userPin(path: string): string {
    const name = encodePinName(path);
    if (name.length > 255)
      throw refusal(
        `pin at ${path}`,
        "the path is too long to be remembered in a pin's name",
        "too-big",
        "BPF_OBJ_PIN",
      );
    return join(this.root, "paths", name);
  }

  identities(folder: "maps" | "programs"): (Identity & { readonly path: string })[] {
    return listNames(join(this.root, folder)).flatMap((name) => {
      const identity = decodeIdentity(name);
      return identity === undefined ? [] : [{ ...identity, path: join(this.root, folder, name) }];
    });
  }

  /** Keys of hooks, or paths of the user's pins, with where they are pinned. */
  keys(folder: "links" | "filters" | "places" | "chains" | "paths"): { readonly key: string; readonly path: string }[] {
    return listNames(join(this.root, folder)).flatMap((name) => {
      const key = decodePinName(name);
      return key === undefined ? [] : [{ key, path: join(this.root, folder, name) }];
    });
  }

  removeAll(): void {
    removeTree(this.root);
  }
}

/** Names in a folder that may not be there, sorted. */
export function listNames(folder: string): string[] {
  try {
    return fs.readdirSync(folder).toSorted();
  } catch (error) {
    if (isMissing(error)) return [];
    throw error;
  }
}

/** What it pins stays in the kernel as long as anything else holds it. */
export function unpin(path: string): void {
  try {
    fs.unlinkSync(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

export function removeTree(path: string): void {
  fs.rmSync(path, { recursive: true, force: true });
}

export interface Pinnable {
  pin(path: string): void;
}

/** Makes the folder too. */
export function pinAt(pinnable: Pinnable, path: string): void {
  fs.mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  pinnable.pin(path);
}

/** Pins in place of what is pinned there, in one step. */
export function replacePin(pinnable: Pinnable, path: string): void {
  const folder = dirname(path);
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  const fresh = join(folder, `new~${process.pid}`);
  unpin(fresh);
  pinnable.pin(fresh);
  fs.renameSync(fresh, path);
}

export function isThere(path: string): boolean {
  return fs.existsSync(path);
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR");
}
