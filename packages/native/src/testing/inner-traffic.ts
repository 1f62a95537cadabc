/** What inner processes do in tests, each function in the process's own world. */
import type { Socket } from "node:net";
import type { InnerProcess } from "./inner-process.ts";

export interface Target {
  readonly address: string;
  readonly port: number;
}

/** Errors by their code: `EPERM`. */
export type Sent = { readonly sent: number; readonly refused: Readonly<Record<string, number>> };

/** Datagrams of `size` bytes of payload, one after the other. */
export function sendUdp(from: InnerProcess, to: Target, count: number, size = 10): Promise<Sent> {
  return from.run(
    async ({ address, port, count, size }) => {
      const { createSocket } = process.getBuiltinModule("node:dgram");
      const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
      const refused: Record<string, number> = {};
      let sent = 0;
      for (let at = 0; at < count; at++) {
        const error = await new Promise<NodeJS.ErrnoException | null>((done) =>
          socket.send(new Uint8Array(size), port, address, done),
        );
        if (error === null) sent++;
        else refused[error.code ?? "?"] = (refused[error.code ?? "?"] ?? 0) + 1;
      }
      socket.close();
      return { sent, refused };
    },
    { ...to, count, size },
  );
}

/** Receives datagrams at a port of its own. */
export function listenUdp(at: InnerProcess, address: string): Promise<number> {
  return at.run(
    async ({ address }) => {
      const { createSocket } = process.getBuiltinModule("node:dgram");
      const socket = createSocket(address.includes(":") ? "udp6" : "udp4");
      const seen = globalThis as { received?: number };
      seen.received ??= 0;
      socket.on("message", () => void (seen.received = (seen.received ?? 0) + 1));
      await new Promise<void>((done) => socket.bind(0, address, done));
      return socket.address().port;
    },
    { address },
  );
}

/** Datagrams that came; waits for so many, and a moment for more. */
export function receivedUdp(at: InnerProcess, expected: number): Promise<number> {
  return at.run(
    async ({ expected }) => {
      const { setTimeout } = process.getBuiltinModule("node:timers/promises");
      const seen = globalThis as { received?: number };
      for (let left = 100; left > 0 && (seen.received ?? 0) < expected; left--) await setTimeout(20);
      await setTimeout(20);
      return seen.received ?? 0;
    },
    { expected },
  );
}

/** Accepts connections, answers nothing, and closes when the other side does. */
export function listenTcp(at: InnerProcess, address: string): Promise<number> {
  return at.run(
    async ({ address }) => {
      const { createServer } = process.getBuiltinModule("node:net");
      const server = createServer((socket) => socket.on("error", () => undefined).resume());
      await new Promise<void>((done) => server.listen(0, address, done));
      return (server.address() as { port: number }).port;
    },
    { address },
  );
}

/** Opens connections and keeps them; the codes of those that were refused. */
export function connectTcp(
  from: InnerProcess,
  to: Target,
  count: number,
  timeoutMs = 2000,
): Promise<readonly string[]> {
  return from.run(
    async ({ address, port, count, timeoutMs }) => {
      const { connect } = process.getBuiltinModule("node:net");
      const world = globalThis as { open?: Socket[] };
      const codes: string[] = [];
      for (let at = 0; at < count; at++) {
        const socket = connect({ host: address, port });
        const code = await new Promise<string | undefined>((done) => {
          socket.once("connect", () => done(undefined));
          socket.once("error", (error: NodeJS.ErrnoException) => done(error.code));
          setTimeout(() => done("no answer"), timeoutMs).unref();
        });
        if (code === undefined) (world.open ??= []).push(socket);
        else {
          codes.push(code);
          socket.destroy();
        }
      }
      return codes;
    },
    { ...to, count, timeoutMs },
  );
}

/** Closes the oldest of the connections that are open. */
export function closeTcp(from: InnerProcess, count: number): Promise<void> {
  return from.run(
    async ({ count }) => {
      const world = globalThis as { open?: Socket[] };
      for (const socket of (world.open ?? []).splice(0, count)) {
        await new Promise<void>((done) => {
          socket.once("close", () => done());
          socket.resume().end();
        });
      }
    },
    { count },
  );
}

/** Sends bytes over the oldest open connection. */
export function writeTcp(from: InnerProcess, size: number): Promise<void> {
  return from.run(
    async ({ size }) => {
      const world = globalThis as { open?: Socket[] };
      await new Promise<void>((done, fail) =>
        world.open?.[0]?.write(new Uint8Array(size), (error) => (error ? fail(error) : done())),
      );
    },
    { size },
  );
}

/** What opening a file says: `""`, or the error's code. */
export function openFile(at: InnerProcess, path: string): Promise<string> {
  return at.run(
    ({ path }) => {
      const { closeSync, openSync } = process.getBuiltinModule("node:fs");
      try {
        closeSync(openSync(path, "r"));
        return "";
      } catch (error) {
        return (error as NodeJS.ErrnoException).code ?? "?";
      }
    },
    { path },
  );
}
