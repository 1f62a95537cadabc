/** Waits for what is bound to become true; throws when it does not. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, timeoutMs = 20_000): Promise<void> {
  for (const end = performance.now() + timeoutMs; !(await holds());) {
    if (performance.now() > end) throw new Error(`wait until ${what}: ${timeoutMs} ms are over`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
