/** One that is refused keeps no other from its turn; the first failure is thrown in the end, for all to be tried again. */
export async function tryEach<T>(
  all: Iterable<T> | AsyncIterable<T>,
  signal: AbortSignal,
  work: (each: T) => Promise<void>,
): Promise<void> {
  let failure: { readonly error: unknown } | undefined;
  for await (const each of all) {
    if (signal.aborted) return;
    try {
      await work(each);
    } catch (error) {
      failure ??= { error };
    }
  }
  if (failure !== undefined) throw failure.error;
}
