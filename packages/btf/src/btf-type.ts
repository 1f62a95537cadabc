/** In the order of the numbers of https://docs.kernel.org/bpf/btf.html. */
export const btfKinds = [
  "void",
  "int",
  "pointer",
  "array",
  "struct",
  "union",
  "enum",
  "forward",
  "typedef",
  "volatile",
  "const",
  "restrict",
  "function",
  "prototype",
  "variable",
  "section",
  "float",
  "decl-tag",
  "type-tag",
  "enum64",
] as const;
export type BtfKind = (typeof btfKinds)[number];

/** A type; `type` and `members[].type` are ids, 0 is void. */
export interface BtfType {
  readonly kind: BtfKind;
  /** "" for what has none. */
  readonly name: string;
  /** Bytes, of int, enum, struct, union, float and section. */
  readonly size: number;
  /** What pointers, typedefs, qualifiers, tags, variables, arrays and functions lead to. */
  readonly type: number;
  /** Of struct, union, section, enum and prototype. */
  readonly members: readonly BtfMember[];
  /** Elements of an array. */
  readonly count: number;
  readonly isSigned: boolean;
  /** What an int stands for beside a number. */
  readonly meaning?: "char" | "bool" | undefined;
  /** Of an int that does not fill its bytes: its bits, and the first of them. */
  readonly bits?: { readonly count: number; readonly offset: number } | undefined;
  /** Of a decl-tag: the member it is on, -1 for the whole. */
  readonly component?: number | undefined;
  /** Of a forward declaration. */
  readonly isUnion?: boolean | undefined;
}

export interface BtfMember {
  readonly name: string;
  readonly type: number;
  /** Bits from the start for fields; bytes for variables of a section. */
  readonly offset: number;
  /** Of a bit field. */
  readonly bits?: number | undefined;
  /** Of an enumerator. */
  readonly value?: bigint | undefined;
}
