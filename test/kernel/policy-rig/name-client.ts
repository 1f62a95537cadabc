/** Looks names up by the resolver of libc and connects at once, for tests. A line `NAME PORT` asks; `NAME FROM-TO`: numbers before the name. */
import { lookup } from "node:dns/promises";
import { connect } from "node:net";
import { createInterface } from "node:readline";

export interface NameAnswer {
  readonly name: string;
  /** `connected`, or what failed with its code. */
  readonly met: string;
  readonly address?: string | undefined;
}

const patientMs = 700;

function tryConnect(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port, timeout: patientMs });
    const end = (met: string) => (): void => {
      socket.destroy();
      resolve(met);
    };
    socket.on("connect", end("connected"));
    socket.on("timeout", end("connect: nothing"));
    socket.on("error", (error: NodeJS.ErrnoException) => end(`connect: ${error.code}`)());
  });
}

async function ask(name: string, port: number, family: number): Promise<NameAnswer> {
  try {
    const { address } = await lookup(name, { family });
    return { name, address, met: await tryConnect(address, port) };
  } catch (error) {
    return { name, met: `lookup: ${(error as NodeJS.ErrnoException).code}` };
  }
}

const say = (answers: readonly NameAnswer[]): void => void process.stdout.write(`${JSON.stringify(answers)}\n`);

for await (const line of createInterface({ input: process.stdin })) {
  const [name = "", port = "", family = "4", from = "", to = ""] = line.split(" ");
  const names =
    from === "" ? [name] : Array.from({ length: Number(to) - Number(from) }, (_, at) => `${Number(from) + at}.${name}`);
  const all: NameAnswer[] = [];
  for (const each of names) all.push(await ask(each, Number(port), Number(family)));
  say(all);
}
