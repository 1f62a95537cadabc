import * as fs from "node:fs";
import { dirname, join } from "node:path";
import { rawBtf, type BpfMap } from "./binding.ts";
import { makePinFolders, own, removeEmptyFolders, reopen, type PinAccess } from "./pin-access.ts";

/**
 * The types of the maps below `<bpffs>/maps`, each a file `<folder>/<path below maps>.json` that who may open the map may
 * read: `{ mapId, keyTypeId, valueTypeId, btf }`, the last in base64. Maps without types have none.
 */
export class TypeFiles {
  readonly #folder: string;
  readonly #pins: string;
  readonly #access: PinAccess | undefined;

  constructor(folder: string, pins: string, access: PinAccess | undefined) {
    this.#folder = folder;
    this.#pins = pins;
    this.#access = access;
  }

  /** Whether the file that this map should have at this pin is there, and is of this map. */
  has(pin: string, map: BpfMap): boolean {
    if (!hasTypes(map)) return true;
    try {
      return (JSON.parse(fs.readFileSync(this.#file(pin), "utf8")) as { mapId?: unknown }).mapId === map.info.id;
    } catch {
      return false;
    }
  }

  /** In one step; before the pin is there, so that whoever finds the pin finds this. */
  write(pin: string, map: BpfMap): void {
    const file = this.#file(pin);
    if (!hasTypes(map)) return fs.rmSync(file, { force: true });
    const { id: mapId, btfId, btfKeyTypeId: keyTypeId, btfValueTypeId: valueTypeId } = map.info;
    fs.mkdirSync(dirname(this.#folder), { recursive: true });
    makePinFolders(this.#folder, dirname(file), this.#access);
    const { group } = this.#access ?? {};
    const fresh = `${file}~`;
    const btf = rawBtf(btfId).toString("base64");
    fs.writeFileSync(fresh, `${JSON.stringify({ mapId, keyTypeId, valueTypeId, btf })}\n`, { mode: 0o600 });
    if (group !== undefined) own(fresh, group);
    fs.chmodSync(fresh, this.#mode());
    fs.renameSync(fresh, file);
  }

  /** For whom may open the pin now. */
  reopen(pin: string): void {
    const file = this.#file(pin);
    if (fs.existsSync(file)) reopen(this.#folder, file, this.#access ?? {}, this.#mode());
  }

  remove(pin: string): void {
    const file = this.#file(pin);
    fs.rmSync(file, { force: true });
    removeEmptyFolders(this.#folder, dirname(file));
  }

  /** Of pins that are gone with their bpffs. */
  sweep(pins: ReadonlySet<string>): void {
    const entries = fs.existsSync(this.#folder)
      ? fs.readdirSync(this.#folder, { recursive: true, withFileTypes: true })
      : [];
    for (const entry of entries) {
      const path = join(entry.parentPath, entry.name);
      const pin = join(this.#pins, path.slice(this.#folder.length).replace(/\.json$/, ""));
      if (!entry.isFile() || pins.has(pin)) continue;
      fs.rmSync(path, { force: true });
      removeEmptyFolders(this.#folder, entry.parentPath);
    }
  }

  #mode(): number {
    return ((this.#access?.mode ?? 0o640) & 0o444) | 0o600;
  }

  #file(pin: string): string {
    return join(this.#folder, `${pin.slice(this.#pins.length)}.json`);
  }
}

function hasTypes(map: BpfMap): boolean {
  return map.info.btfId !== 0 && map.info.btfValueTypeId !== 0;
}
