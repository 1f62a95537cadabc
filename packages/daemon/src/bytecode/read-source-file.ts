import { constants } from "node:fs";
import { open, stat } from "node:fs/promises";
import { KernelError, type ErrorCode } from "@bpfleet/base";

/** As much as an object in an image may have. */
const mostBytes = 64 * 1024 * 1024;

const known: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  ENOENT: ["not-found", "it is read as soon as it is there"],
  ENOTDIR: ["not-found", "it is read as soon as it is there"],
  EACCES: ["no-permission", "let the daemon read it"],
};

/** A path is what somebody declared: a device has no end, and a pipe may hold its reader for ever. */
export async function readSourceFile(path: string): Promise<Buffer> {
  try {
    mustBeObject(path, await stat(path));
    await using file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const facts = await file.stat();
    mustBeObject(path, facts);
    const bytes = Buffer.alloc(facts.size);
    let length = 0;
    for (let isOver = false; !isOver && length < bytes.length;) {
      const { bytesRead } = await file.read(bytes, length);
      length += bytesRead;
      isOver = bytesRead === 0;
    }
    return bytes.subarray(0, length);
  } catch (cause) {
    if (cause instanceof KernelError) throw cause;
    const errno = (cause as NodeJS.ErrnoException).code ?? String(cause);
    const [code, help] = known[errno] ?? (["invalid", "give the path of an object"] as const);
    throw refused(`read ${path}: ${errno}; ${help}`, code, cause);
  }
}

function mustBeObject(path: string, facts: { isFile: () => boolean; readonly size: number }): void {
  if (!facts.isFile()) throw refused(`read ${path}: it is no file; give the path of an object`, "invalid");
  if (facts.size > mostBytes)
    throw refused(`read ${path}: it has ${facts.size} bytes, ${mostBytes} are allowed; strip it`, "too-big");
}

function refused(message: string, code: ErrorCode, cause?: unknown): KernelError {
  return new KernelError(message, { code, call: "READ", retry: "when-changed", cause });
}
