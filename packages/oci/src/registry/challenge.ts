/** One way to authenticate that a server offers in `WWW-Authenticate`. */
export interface Challenge {
  /** Lower case: `basic`, `bearer`. */
  readonly scheme: string;
  readonly parameters: Readonly<Record<string, string>>;
}

/** All challenges of the header, in order; several may stand in one line, separated by the comma that also separates parameters. */
export function parseChallenges(header: string): readonly Challenge[] {
  const challenges: { scheme: string; parameters: Record<string, string> }[] = [];
  const token = "[\\w!#$%&'*+.^`|~-]+";
  const parts = new RegExp(
    `\\s*,?\\s*(?:(${token})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|(${token}))|(${token})(?=\\s|,|$))`,
    "y",
  );
  while (parts.lastIndex < header.length) {
    const match = parts.exec(header);
    if (match === null) break;
    const [, key, quoted, plain, scheme] = match;
    if (scheme !== undefined) challenges.push({ scheme: scheme.toLowerCase(), parameters: {} });
    else if (key !== undefined) {
      const parameters = challenges.at(-1)?.parameters;
      if (parameters !== undefined) parameters[key.toLowerCase()] = quoted?.replaceAll(/\\(.)/g, "$1") ?? plain ?? "";
    }
  }
  return challenges;
}
