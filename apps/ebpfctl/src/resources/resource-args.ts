import { didYouMean, findKindByName, kinds, type Kind } from "@bpfleet/kinds";
import { Failure } from "../failure.ts";

/** What `TYPE`, `TYPE NAME…`, `TYPE/NAME…`, `TYPE,TYPE` and `all` ask for: kinds, each with the names that were given. */
export interface ResourceWish {
  readonly kind: Kind;
  /** Empty: every object of the kind. */
  readonly names: readonly string[];
}

export function parseResourceArgs(words: readonly string[]): readonly ResourceWish[] {
  const [first, ...rest] = words;
  if (first === undefined) {
    throw new Failure(
      `Required resource not specified; name one of ${kinds.map((kind) => kind.plural).join(", ")}, or all`,
    );
  }
  if (first.includes("/")) return parseSlashed(words);
  const slashed = rest.find((word) => word.includes("/"));
  if (slashed !== undefined)
    throw new Failure(
      "there is no need to specify a resource type as a separate argument when passing arguments in resource/name form",
    );
  const wanted = first === "all" ? kinds : first.split(",").map(findKind);
  return wanted.map((kind) => ({ kind, names: rest }));
}

function parseSlashed(words: readonly string[]): readonly ResourceWish[] {
  const wishes = new Map<Kind, string[]>();
  for (const word of words) {
    const [type = "", name = "", ...more] = word.split("/");
    if (name === "" || more.length > 0)
      throw new Failure("arguments in resource/name form must have a single resource and name");
    const kind = findKind(type);
    const names = wishes.get(kind);
    if (names === undefined) wishes.set(kind, [name]);
    else names.push(name);
  }
  return [...wishes].map(([kind, names]) => ({ kind, names }));
}

function findKind(name: string): Kind {
  const kind = findKindByName(name);
  if (kind !== undefined) return kind;
  const names = kinds.flatMap((known) => [known.plural, known.singular, ...known.shortNames]);
  throw new Failure(`the server doesn't have a resource type "${name}"${didYouMean(name, names)}`);
}

/** `ebpfprograms.networking.fos1.io` */
export function resourceName(kind: Kind): string {
  return kind.group === "" ? kind.plural : `${kind.plural}.${kind.group}`;
}

/** `ebpfprogram.networking.fos1.io` */
export function singularName(kind: Kind): string {
  return kind.group === "" ? kind.singular : `${kind.singular}.${kind.group}`;
}
