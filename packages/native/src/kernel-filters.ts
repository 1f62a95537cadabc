import { identityKey, parseHookKey, type HookPoint } from "@bpfleet/kernel";
import type { BpfProgram, ClsBpf, Netns } from "./binding.ts";
import {
  findNetns,
  hasClsact,
  netnsNumber,
  readRecords,
  removeIdleClsact,
  writeRecord,
  type FilterRecord,
} from "./clsact.ts";
import { clearFilter, filterAt, findFilter, setFilter, type IsOurs } from "./hook-places.ts";
import type { Interfaces } from "./interfaces.ts";
import { refusal } from "./kernel-error.ts";
import { isThere, removeTree, replacePin, unpin, type Pins } from "./pins.ts";

/** The hooks of tc where it has no links: a filter each. */
export class KernelFilters {
  readonly #pins: Pins;
  readonly #netns: string | Netns | undefined;
  #attached: Promise<unknown> = Promise.resolve();

  constructor(pins: Pins, netns: string | Netns | undefined) {
    this.#pins = pins;
    this.#netns = netns;
  }

  /** Throws busy when a program of others is there. One after the other: two directions share what they need made. */
  attach(at: ClsBpf, program: BpfProgram, key: string, what: string, isOurs: IsOurs): Promise<void> {
    const attaching = this.#attached.then(() => this.#attach(at, program, key, what, isOurs));
    this.#attached = attaching.catch(() => undefined);
    return attaching;
  }

  async #attach(at: ClsBpf, program: BpfProgram, key: string, what: string, isOurs: IsOurs): Promise<void> {
    const holder = await findFilter(at);
    if (holder !== undefined && !isOurs(holder))
      throw refusal(
        what,
        `program ${holder} holds the place of our filter (pref ${at.priority} handle 0x${at.handle.toString(16)})`,
        "busy",
        "RTM_NEWTFILTER",
      );
    // Pinned first: a filter that no pin tells of would stay for ever after a crash.
    replacePin(program, this.#pins.filter(key));
    writeRecord(this.#pins.filterPlace(key), await this.#recordOf(at));
    await setFilter(at, program, holder !== undefined);
  }

  async clear(key: string, isOurs: IsOurs): Promise<void> {
    const pin = this.#pins.filter(key);
    if (!isThere(pin)) return;
    const point = parseHookKey(key);
    const places = readRecords(this.#pins.filterPlace(key));
    for (const { netns: number, ifindex, isClsactOurs } of places) {
      const own = this.#netns;
      const netns = number === 0 || number === netnsNumber(own) ? own : findNetns(number);
      if (point?.hook !== "tc" || (netns === undefined && number !== 0 && number !== netnsNumber(own))) continue;
      const at = filterAt(ifindex, point.direction, netns);
      if (this.#isOfAnother(key, point.direction, number, ifindex)) continue;
      const holder = await findFilter(at);
      if (holder !== undefined && isOurs(holder)) await clearFilter(at);
      if (isClsactOurs) await removeIdleClsact(ifindex, netns);
    }
    removeTree(this.#pins.filterPlace(key));
    unpin(pin);
  }

  /** Id of the program in the filter. */
  async find(point: HookPoint | undefined, interfaces: Interfaces): Promise<number | undefined> {
    const at = this.#placeOf(point, interfaces);
    return at && findFilter(at);
  }

  /** `undefined` when the interface is gone. */
  #placeOf(point: HookPoint | undefined, interfaces: Interfaces): ClsBpf | undefined {
    const ifindex = point?.hook === "tc" ? interfaces.byName.get(point.interface) : undefined;
    return point?.hook === "tc" && ifindex !== undefined ? filterAt(ifindex, point.direction, this.#netns) : undefined;
  }

  /** The interface has another name by now, and what it has is that hook's. */
  #isOfAnother(key: string, direction: "ingress" | "egress", netns: number, ifindex: number): boolean {
    return this.#pins.keys("places").some((other) => {
      const point = parseHookKey(other.key);
      if (other.key === identityKey(key) || point?.hook !== "tc" || point.direction !== direction) return false;
      return readRecords(other.path).some((each) => each.netns === netns && each.ifindex === ifindex);
    });
  }

  async #recordOf({ ifindex }: ClsBpf): Promise<FilterRecord> {
    const netns = netnsNumber(this.#netns);
    const known = this.#pins
      .keys("places")
      .flatMap(({ path }) => readRecords(path))
      .filter((record) => record.netns === netns && record.ifindex === ifindex);
    const isClsactOurs =
      known.some((record) => record.isClsactOurs) || (known.length === 0 && !(await hasClsact(ifindex, this.#netns)));
    return { netns, ifindex, isClsactOurs };
  }
}
