import type { Prefix } from "../../filter/intent.ts";
import type { HostIntent, WorkloadIntent } from "../intent.ts";
import { cutAddresses, readAddress, renderNumber, type AddressPiece } from "./address-pieces.ts";

/** Who has an address. */
export type Holder =
  | { readonly is: "world" }
  | { readonly is: "pod"; readonly pod: WorkloadIntent }
  | { readonly is: "node"; readonly host: HostIntent };

/** One address of a piece of the address space, and who has it. */
export interface HeldPiece {
  readonly holder: Holder;
  readonly piece: AddressPiece;
  readonly address: string;
}

/**
 * Everybody whose address is not known has, one time after the other, an address in each piece: in as many rounds as
 * the smallest piece takes, since an address has one holder at a time.
 */
export class Rounds {
  readonly #pieces: readonly AddressPiece[];
  readonly #fixed = new Map<AddressPiece, Holder>();
  readonly #movable: readonly Holder[];

  constructor(prefixes: readonly Prefix[], pods: readonly WorkloadIntent[], hosts: readonly HostIntent[]) {
    const world: Holder = { is: "world" };
    const everybody = [
      ...pods.map((pod) => ({ is: "pod", pod, addresses: addressesOf(pod) }) as const),
      ...hosts.map((host) => ({ is: "node", host, addresses: addressesOf(host) }) as const),
    ];
    const known = everybody.flatMap((each) => each.addresses);
    this.#pieces = cutAddresses([...prefixes, ...known.map(asPrefix)]);
    for (const each of everybody) {
      for (const { family, number } of each.addresses) {
        const piece = this.#pieces.find((one) => one.family === family && one.first === number && one.last === number);
        if (piece !== undefined) this.#fixed.set(piece, holderOf(each));
      }
    }
    this.#movable = [world, ...everybody.filter(({ addresses }) => addresses.length === 0).map(holderOf)];
  }

  *all(): Generator<readonly HeldPiece[]> {
    const fixed = [...this.#fixed].map(([piece, holder]) => held(holder, piece, 0n));
    const free = this.#pieces.filter((piece) => !this.#fixed.has(piece));
    for (let done = 0, isFirst = true; isFirst || done < this.#movable.length; isFirst = false) {
      const least = Math.min(...free.map((piece) => roomOf(piece, this.#movable.length)));
      const round = free.flatMap((piece) => {
        const room = roomOf(piece, this.#movable.length);
        // What has room for all has held them all after the first round.
        if (room >= this.#movable.length && !isFirst) return [];
        const holders = room >= this.#movable.length ? this.#movable : this.#movable.slice(done, done + least);
        return holders.map((holder, at) => held(holder, piece, BigInt(at)));
      });
      yield isFirst ? [...fixed, ...round] : round;
      if (free.every((piece) => roomOf(piece, this.#movable.length) >= this.#movable.length)) return;
      done += least;
    }
  }
}

function roomOf({ first, last }: AddressPiece, most: number): number {
  const room = last - first + 1n;
  return room > BigInt(most) ? most : Number(room);
}

function held(holder: Holder, piece: AddressPiece, at: bigint): HeldPiece {
  return { holder, piece, address: renderNumber(piece.family, piece.first + at) };
}

type Known =
  | { readonly is: "pod"; readonly pod: WorkloadIntent; readonly addresses: readonly KnownAddress[] }
  | { readonly is: "node"; readonly host: HostIntent; readonly addresses: readonly KnownAddress[] };
type KnownAddress = NonNullable<ReturnType<typeof readAddress>>;

function holderOf(known: Known): Holder {
  return known.is === "pod" ? { is: "pod", pod: known.pod } : { is: "node", host: known.host };
}

function addressesOf({ addresses }: WorkloadIntent | HostIntent): readonly KnownAddress[] {
  return addresses.flatMap((text) => readAddress(text) ?? []);
}

function asPrefix({ family, number }: KnownAddress): Prefix {
  const length = family === 4 ? 32 : 128;
  const bytes = Uint8Array.from({ length: length / 8 }, (_, at) =>
    Number((number >> BigInt(length - 8 - at * 8)) & 255n),
  );
  return { family, bytes, length };
}
