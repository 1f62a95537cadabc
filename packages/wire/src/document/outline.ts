/** Hexadecimal digest of bytes; text is taken as UTF-8. Both ends use the same. */
export type Hash = (data: string | Uint8Array) => string;

/** What a document holds: section → key → fingerprint of the body, in order. */
export type Outline = ReadonlyMap<string, ReadonlyMap<string, string>>;

/** Equal for documents that hold the same items in the same order; sections without items do not count. */
export function outlineFingerprint(outline: Outline, hash: Hash): string {
  const sections = [...outline].filter(([, items]) => items.size > 0).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return hash(JSON.stringify(sections.map(([section, items]) => [section, [...items]])));
}
