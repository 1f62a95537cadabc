/** `no such file (ENOENT)`: the short form of an error of the system. */
export function sayErrno(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = (cause as NodeJS.ErrnoException).code;
  if (code === undefined) return cause.message;
  return `${words[code] ?? cause.message} (${code})`;
}

const words: Readonly<Record<string, string>> = {
  ENOENT: "no such file",
  EACCES: "not permitted",
  EPERM: "not permitted",
  EISDIR: "it is a folder",
  ENOEXEC: "it cannot be run on this machine",
};
