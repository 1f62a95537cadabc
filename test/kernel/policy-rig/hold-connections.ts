/** Holds connections of TCP open, for tests. Each line of its input is a HoldCommand, each of its output the answer. */
import { connect, createServer, type Socket } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout } from "node:timers/promises";

export interface HoldCommand {
  readonly listen?: number;
  readonly open?: { readonly host: string; readonly port: number; readonly count: number };
  /** So many of those that were opened here. */
  readonly close?: number;
  /** Sends a byte by each of those that were opened here; counts those that come back. */
  readonly echo?: true;
  /** Sends as much as it can for so long. */
  readonly stream?: { readonly host: string; readonly port: number; readonly ms: number };
}

export interface HoldAnswer {
  /** Of those that were opened here. */
  readonly open: number;
  readonly echoed?: number;
  /** Of the last stream that came in: bytes, and from the first to the last of them. */
  readonly bytes: number;
  readonly ms: number;
  /** Of the same one, from its begin. */
  readonly allBytes: number;
}

const patientMs = 700;
/** A limit of bandwidth drops openings too: several of the kernel's further tries, after 1, 3 and 7 s. */
const streamPatientMs = 10_000;
const sockets: Socket[] = [];
/** Of a stream, before it is measured: a burst may come at once. */
const settlingMs = 1500;
let [bytes, firstMs, lastMs, allBytes] = [0, 0, 0, 0];

function serve(socket: Socket): void {
  const begunMs = performance.now();
  let [isStream, isMeasured] = [false, false];
  socket.on("error", () => undefined);
  socket.on("data", (chunk) => {
    const now = performance.now();
    if (chunk.length === 1) return void socket.write(chunk);
    if (!isStream) [bytes, firstMs, lastMs, allBytes, isStream] = [0, 0, 0, 0, true];
    allBytes += chunk.length;
    if (now - begunMs < settlingMs) return;
    if (!isMeasured) [firstMs, isMeasured] = [now, true];
    bytes += chunk.length;
    lastMs = now;
  });
}

function tryOpen(host: string, port: number, timeout = patientMs): Promise<Socket | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout });
    const give = (): void => {
      socket.destroy();
      resolve(undefined);
    };
    socket.once("timeout", give);
    socket.on("error", give);
    socket.once("connect", () => {
      socket.setTimeout(0);
      resolve(socket);
    });
  });
}

function echo(socket: Socket): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = globalThis.setTimeout(() => resolve(false), patientMs);
    socket.once("data", () => {
      clearTimeout(timer);
      resolve(true);
    });
    socket.write("x");
  });
}

async function stream(host: string, port: number, ms: number): Promise<void> {
  const socket = await tryOpen(host, port, streamPatientMs);
  if (socket === undefined) throw new Error(`stream: no connection to ${host} port ${port} in ${streamPatientMs} ms`);
  const chunk = Buffer.alloc(65_536);
  const endMs = performance.now() + ms;
  const push = (): void => {
    while (performance.now() < endMs && socket.write(chunk));
  };
  socket.on("drain", push);
  push();
  await setTimeout(ms);
  // What the kernel still holds would go on to use up the limit of whoever is measured next.
  socket.resetAndDestroy();
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line) as HoldCommand;
  if (command.listen !== undefined) {
    const server = createServer(serve);
    await new Promise<void>((resolve) => server.listen(command.listen, "::", () => resolve()));
  }
  const { host = "", port = 0, count = 0 } = command.open ?? {};
  for (let at = 0; at < count; at++) {
    const socket = await tryOpen(host, port);
    if (socket !== undefined) sockets.push(socket);
  }
  for (const socket of sockets.splice(0, command.close ?? 0)) {
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.resume();
    socket.end();
    await closed;
  }
  if (command.stream !== undefined) await stream(command.stream.host, command.stream.port, command.stream.ms);
  const echoes = command.echo === true ? await Promise.all(sockets.map(echo)) : undefined;
  const answer: HoldAnswer = {
    open: sockets.length,
    ...(echoes !== undefined && { echoed: echoes.filter(Boolean).length }),
    bytes,
    ms: lastMs - firstMs,
    allBytes,
  };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
process.exit();
