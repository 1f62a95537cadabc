import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { after, before, it } from "node:test";
import { BpfMap, BpfObject, BpfProgram, NetlinkSocket } from "./binding.ts";
import { KernelSandbox } from "./testing/kernel-sandbox.ts";

let sandbox: KernelSandbox;
before(() => {
  sandbox = new KernelSandbox();
});
after(() => sandbox[Symbol.asyncDispose]());

/** Repeatable, so that a crash can be found again. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

/** These reach the machine, not just our own objects; a random path or number must not. */
const tooReal = new Set([
  "mountBpffs",
  "unmount",
  "pin",
  "mapById",
  "programById",
  "linkById",
  "detachLink",
  "updateLink",
]);

it(
  "20,000 calls with wrong, random and closed arguments throw or answer, and never crash",
  { timeout: 120_000 },
  async () => {
    const native = createRequire(import.meta.url)("../../../build/native/bpfleet.node") as Record<string, unknown>;
    const { path } = sandbox.netns();
    const elf = sandbox.compile("gate");
    const object = BpfObject.open(elf, { autoload: ["cut"] });
    await object.load();
    const owners = [
      BpfMap.create({ type: "hash", name: "a", keySize: 4, valueSize: 8, maxEntries: 8 }),
      BpfMap.create({ type: "ringbuf", name: "b", keySize: 0, valueSize: 0, maxEntries: 4096 }),
      BpfMap.create({ type: "percpu_array", name: "c", keySize: 4, valueSize: 5, maxEntries: 3 }),
      object.program("cut"),
      await BpfProgram.loadRaw({
        type: "xdp",
        name: "x",
        license: "GPL",
        insns: Buffer.from("b7000000020000009500000000000000", "hex"),
      }),
    ];
    const closed = BpfMap.create({ type: "hash", name: "d", keySize: 4, valueSize: 8, maxEntries: 8 });
    closed.close();
    owners.push(closed);
    const handles = owners.flatMap((owner) =>
      Object.getOwnPropertySymbols(owner).map((symbol) => Reflect.get(owner, symbol) as object),
    );
    const nativeObject = (native["Object"] as { open(elf: Buffer, spec: object): object }).open(elf, {
      reuseNames: [],
      reuseFds: [],
      maxEntries: {},
      programTypes: {},
      attachTargets: {},
    });
    const random = randomNumbers(20_261_121);
    const bytes = (): Buffer => Buffer.from(Array.from({ length: random(24) }, () => random(256)));
    const makers: (() => unknown)[] = [
      () => handles[random(handles.length)],
      () => handles[random(handles.length)],
      () => handles[random(handles.length)],
      bytes,
      bytes,
      () => random(20),
      () => random(2 ** 31) - 2 ** 30,
      () => Number.NaN,
      () => -1,
      () => BigInt(random(1000)),
      () => undefined,
      () => null,
      () => true,
      () => "xdp",
      () => "no such\0thing",
      () => "/no/such",
      () => ({}),
      () => [],
      () => Symbol.iterator,
      () => () => {},
      () => new Uint16Array(4),
      () => new DataView(new ArrayBuffer(8)),
      () => ({ type: "hash", name: "f", keySize: random(9), valueSize: random(9), maxEntries: random(9) }),
      () => ({ type: "xdp", name: "f", license: "GPL", insns: bytes(), funcInfo: bytes(), logLevel: random(4) }),
      () => ({ kind: "tcx", name: "f", attachType: "tcx_ingress", ifindex: 1_000_000 + random(99) }),
      () => ({ kind: "cgroup", name: "f", attachType: "no such", path: "/no/such" }),
      () => ({ flags: random(99), relativeId: random(99), expectedRevision: 5n }),
      () => ({ data: bytes(), ctx: bytes(), repeat: random(3), flags: random(2) }),
      () => ({ ifindex: 1_000_000, isEgress: true, handle: random(3), priority: random(3) }),
      () => ({ protocol: 0, groups: [random(40)], window: random(3) }),
      () => nativeObject,
    ];
    const calls: [string, (...args: unknown[]) => unknown][] = Object.entries(native).filter(
      (entry): entry is [string, (...args: unknown[]) => unknown] =>
        typeof entry[1] === "function" && !tooReal.has(entry[0]) && !/^[A-Z]/.test(entry[0]),
    );
    const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(nativeObject)).filter(
      (name) => !["constructor", "license"].includes(name),
    );
    for (const name of methods)
      calls.push([
        name,
        (...args) => (Reflect.get(nativeObject, name) as (...args: unknown[]) => unknown).apply(nativeObject, args),
      ]);
    assert.ok(calls.length > 40);

    const outcomes = { answered: 0, refused: 0 };
    let pending: Promise<unknown>[] = [];
    const openReaders: { close(): Promise<void> }[] = [];
    for (let count = 0; count < 20_000; count++) {
      const [, run] = calls[random(calls.length)]!;
      const args = Array.from({ length: random(5) }, () => makers[random(makers.length)]!());
      try {
        const result = run(...args);
        outcomes.answered++;
        if (result instanceof Promise) pending.push(result.catch(() => {}));
        else if (result !== null && typeof result === "object" && "close" in result)
          openReaders.push(result as { close(): Promise<void> });
      } catch (error) {
        assert.ok(error instanceof Error);
        outcomes.refused++;
      }
      if (pending.length >= 64) {
        await Promise.all(pending);
        pending = [];
        await Promise.all(openReaders.splice(0).map((reader) => reader.close()));
      }
    }
    await Promise.all(pending);
    await Promise.all(openReaders.map((reader) => reader.close()));
    assert.ok(outcomes.answered > 100 && outcomes.refused > 10_000, JSON.stringify(outcomes));

    // The addon still works.
    for (const owner of owners) owner.close();
    await object.close();
    await using socket = NetlinkSocket.open({ family: "route", netns: path });
    using map = BpfMap.create({ type: "hash", name: "after", keySize: 4, valueSize: 4, maxEntries: 1 });
    assert.equal((await map.readBatch()).count, 0);
    await socket.close();
  },
);
