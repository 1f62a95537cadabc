import { once } from "node:events";
import { chmodSync, chownSync, mkdirSync, rmSync } from "node:fs";
import type { Server } from "node:net";
import { dirname } from "node:path";

/** Who may open a socket beside its owner. */
export interface SocketAccess {
  readonly group?: number | undefined;
  readonly mode: number;
}

/** Listens on a unix socket in place of one that is there: the caller knows that nobody answers on it. */
export async function listenOnSocket(server: Server, socket: string, { group, mode }: SocketAccess): Promise<void> {
  mkdirSync(dirname(socket), { recursive: true, mode: 0o755 });
  rmSync(socket, { force: true });
  // The socket is bound in the call: nobody can open it before its mode is right.
  const umask = process.umask(0o177);
  try {
    server.listen(socket);
  } finally {
    process.umask(umask);
  }
  await once(server, "listening");
  if (group !== undefined) chownSync(socket, process.getuid?.() ?? 0, group);
  chmodSync(socket, mode);
}
