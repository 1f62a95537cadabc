import { native } from "./binding/addon.ts";

/**
 * Until it is disposed of: once in so many milliseconds all pages of Node's own file leave the page tables of this process,
 * and those that are used come back from the page cache, sixteen with one fault. Of the 50 MiB that a start maps a process at rest uses less
 * than half.
 */
export function keepProgramPagesFew(everyMs = 30_000): Disposable {
  const timer = setInterval(() => {
    try {
      native().unmapProgramPages();
    } catch {
      // Without the addon it goes on as it is.
      clearInterval(timer);
    }
  }, everyMs);
  timer.unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
