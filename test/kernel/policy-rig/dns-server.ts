/** A server of DNS over UDP and TCP, for tests. Each line of its input is what it answers from then on. */
import { createSocket, type RemoteInfo } from "node:dgram";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { decode, encode, type Packet } from "dns-packet";

export interface DnsAnswers {
  /** By name in lower case. */
  readonly records: Readonly<Record<string, readonly DnsRecord[]>>;
  /** `N.pool` for each number has an address of its own: `BASE` with the number in its last two bytes. */
  readonly pool?: { readonly name: string; readonly base: string } | undefined;
  /** Over UDP, names whose answer does not fit. */
  readonly truncated?: readonly string[] | undefined;
  /** An address that is told before each answer: with another id, to another question, and from another port. */
  readonly forged?: string | undefined;
}

export interface DnsRecord {
  readonly name: string;
  readonly type: "A" | "AAAA" | "CNAME";
  readonly ttl?: number | undefined;
  readonly data: string;
}

let answers: DnsAnswers = { records: {} };

function recordsOf(name: string, type: string): readonly DnsRecord[] | undefined {
  const { records, pool } = answers;
  const known = records[name];
  if (known !== undefined) return known.filter((record) => record.type === type || record.type === "CNAME");
  const number = pool === undefined || !name.endsWith(`.${pool.name}`) ? Number.NaN : Number.parseInt(name, 10);
  if (pool === undefined || Number.isNaN(number)) return undefined;
  return type === "A" ? [{ name, type, data: `${pool.base}.${number >> 8}.${number & 255}` }] : [];
}

function answer(query: Packet, isUdp: boolean): Packet {
  const [question] = query.questions ?? [];
  const name = question?.name.toLowerCase() ?? "";
  const records = question && recordsOf(name, question.type);
  const isCut = isUdp && (answers.truncated ?? []).includes(name);
  const own = (records ?? []).map(({ name: owner, type, ttl = 60, data }) => ({
    // As resolvers do, with the letters of who asks.
    name: owner === name ? (question?.name ?? owner) : owner,
    type,
    ttl,
    data,
  }));
  return {
    type: "response",
    id: query.id,
    flags: 0x0180 | (records === undefined ? 3 : 0) | (isCut ? 0x0200 : 0),
    questions: query.questions,
    answers: isCut ? [] : own,
  };
}

const say = (text: string): void => void process.stdout.write(`${text}\n`);

const other = { udp4: createSocket("udp4"), udp6: createSocket("udp6") };
for (const type of ["udp4", "udp6"] as const) {
  const socket = createSocket({ type, ipv6Only: type === "udp6" });
  socket.on("message", (message: Buffer, from: RemoteInfo) => {
    const query = decode(message);
    const { forged } = answers;
    if (forged !== undefined) {
      const [question] = query.questions ?? [];
      const name = question?.name ?? "";
      const lie: Packet = {
        ...answer(query, true),
        flags: 0x0180,
        answers: [{ name, type: "A", ttl: 60, data: forged }],
      };
      socket.send(encode({ ...lie, id: (query.id ?? 0) ^ 1 }), from.port, from.address);
      const questions = (query.questions ?? []).map((each) => ({ ...each, name: `x.${each.name}` }));
      socket.send(encode({ ...lie, questions }), from.port, from.address);
      other[type].send(encode(lie), from.port, from.address);
    }
    socket.send(encode(answer(query, true)), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(53, () => resolve()));
}
const server = createServer((socket) => {
  let received = Buffer.alloc(0);
  socket.on("error", () => undefined);
  socket.on("data", (some: Buffer) => {
    received = Buffer.concat([received, some]);
    if (received.length < 2 || received.length < 2 + received.readUInt16BE()) return;
    const message = encode(answer(decode(received.subarray(2)), false));
    socket.end(Buffer.concat([Buffer.from(Uint16Array.of(message.length).buffer).swap16(), message]));
  });
});
await new Promise<void>((resolve) => server.listen(53, "::", () => resolve()));

say("ready");
for await (const line of createInterface({ input: process.stdin })) {
  answers = JSON.parse(line) as DnsAnswers;
  say("changed");
}
process.exit();
