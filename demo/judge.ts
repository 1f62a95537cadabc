/** What the demo is about: the demo fails when it is not so. */
export type Expectation = "pass" | "drop" | "limit";

export interface Played {
  readonly name: string;
  readonly expect: Expectation;
  readonly sent: number;
  readonly arrived: number;
  /** What the rate limit lets through in the time that it took. */
  readonly allowed: number;
}

export interface Judgement {
  readonly notes: readonly string[];
  readonly failures: readonly string[];
}

/**
 * Whether the filter kept its word in scenes that ran at once, in which it dropped `dropped` packets by its own
 * count. A busy machine loses packets before and behind the filter: those are told, and are no failure of it.
 */
export function judge(scenes: readonly Played[], dropped: number): Judgement {
  const missing = scenes.reduce((sum, { sent, arrived }) => sum + sent - arrived, 0);
  const lost = Math.max(0, missing - dropped);
  const failures = scenes.flatMap(({ name, expect, sent, arrived, allowed }) => {
    const isAsPromised =
      expect === "pass"
        ? arrived > 0 && sent - arrived <= lost
        : expect === "drop"
          ? arrived === 0 && dropped > 0
          : sent <= allowed || (dropped > 0 && arrived <= allowed);
    return isAsPromised
      ? []
      : [`${name}: ${arrived} of ${sent} packets arrived, which is not what was declared (${expect})`];
  });
  const notes = [
    ...(lost === 0 ? [] : [`${lost} more were lost by the busy machine, before or behind the filter`]),
    ...scenes
      .filter(({ expect, sent, allowed }) => expect === "limit" && sent <= allowed)
      .map(({ name }) => `${name}: the busy machine sends no faster than is allowed`),
  ];
  return { notes, failures };
}
