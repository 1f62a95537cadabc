/** Tells each listener; one that throws keeps nothing from the others. */
export function tellEach<Told extends readonly unknown[]>(
  listeners: Iterable<(...told: Told) => void>,
  onTrouble: (error: unknown) => void,
  ...told: Told
): void {
  for (const listener of listeners) {
    try {
      listener(...told);
    } catch (error) {
      onTrouble(error);
    }
  }
}
