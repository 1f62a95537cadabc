import { once } from "node:events";
import { chmod, mkdir, rm } from "node:fs/promises";
import type { Server } from "node:net";
import { dirname } from "node:path";
import { answers } from "./client.ts";

/** Listens on a unix socket that only its owner may open; fails with `taken` where another process serves it. */
export async function listenOnOwnSocket(server: Server, socket: string, taken: string): Promise<void> {
  await mkdir(dirname(socket), { recursive: true, mode: 0o755 });
  if (await answers(socket)) throw new Error(taken);
  await rm(socket, { force: true });
  // The socket is bound in the call: nobody can open it before its mode is right.
  const umask = process.umask(0o177);
  try {
    server.listen(socket);
  } finally {
    process.umask(umask);
  }
  await once(server, "listening");
  await chmod(socket, 0o600);
}
