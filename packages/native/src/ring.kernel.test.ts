import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { Worker } from "node:worker_threads";
import { BpfObject } from "./binding.ts";
import type { BpfMap } from "./binding.ts";
import { KernelSandbox, openDescriptors, u32, until } from "./testing/kernel-sandbox.ts";

const bindingUrl = new URL("./binding.ts", import.meta.url).href;

describe("ring buffers", () => {
  let sandbox: KernelSandbox;
  let flood: Buffer;
  before(() => {
    sandbox = new KernelSandbox();
    flood = sandbox.compile("flood");
  });
  after(() => sandbox[Symbol.asyncDispose]());

  function counters(object: BpfObject, bss: BpfMap): { submitted: bigint; lost: bigint } {
    const bytes = bss.getRaw(u32(0))!;
    const value = (name: string): bigint =>
      bytes.readBigUInt64LE(object.globals().find((global) => global.name === name)!.offset);
    return { submitted: value("submitted"), lost: value("lost") };
  }

  it("every record arrives once and in order, many a call", async () => {
    await using object = BpfObject.open(flood);
    await object.load();
    using program = object.program("flood");
    using events = object.map("events");
    using bss = object.map("bpf.bss");
    let next = 0n;
    let calls = 0;
    await using reader = events.ringbuf(
      (records) => {
        calls++;
        assert.ok(records.count <= 1000);
        let count = 0;
        for (const record of records) {
          assert.equal(record.length, 24);
          assert.equal(record.readBigUInt64LE(), next++);
          count++;
        }
        assert.equal(count, records.count);
      },
      { maxRecords: 1000 },
    );
    for (let round = 0; round < 5; round++) await program.testRun({ data: new Uint8Array(64), repeat: 20_000 });
    const { submitted, lost } = counters(object, bss);
    assert.equal(submitted + lost, 100_000n);
    await until("all that was submitted arrived", () => next === submitted);
    assert.equal(reader.delivered, submitted);
    assert.ok(calls < Number(submitted) / 10, `${calls} calls for ${submitted} records`);
  });

  it("a blocked event loop leaves loss to the kernel's side, counted", async () => {
    await using object = BpfObject.open(flood);
    await object.load();
    using program = object.program("flood");
    using events = object.map("events");
    using bss = object.map("bpf.bss");
    let received = 0n;
    await using _reader = events.ringbuf((records) => {
      received += BigInt(records.count);
      const end = Date.now() + 20;
      while (Date.now() < end);
    });
    await program.testRun({ data: new Uint8Array(64), repeat: 200_000 });
    const { submitted, lost } = counters(object, bss);
    assert.equal(submitted + lost, 200_000n);
    assert.ok(lost > 0n);
    await until("all that was submitted arrived", () => received === submitted);
  });

  it("after close no callback runs, and the map may be read again", async () => {
    await using object = BpfObject.open(flood);
    await object.load();
    using program = object.program("flood");
    using events = object.map("events");
    const start = openDescriptors();
    for (let round = 0; round < 20; round++) {
      let isClosed = false;
      const reader = events.ringbuf(() => assert.equal(isClosed, false));
      await program.testRun({ data: new Uint8Array(64), repeat: 1000 });
      isClosed = true;
      await reader.close();
      await reader.close();
    }
    assert.equal(openDescriptors(), start);
  });

  it("closing the map under a reader does not stop it", async () => {
    await using object = BpfObject.open(flood);
    await object.load();
    using program = object.program("flood");
    const events = object.map("events");
    let received = 0;
    await using _reader = events.ringbuf((records) => (received += records.count));
    events.close();
    await program.testRun({ data: new Uint8Array(64), repeat: 100 });
    await until("the records arrived", () => received === 100);
  });

  it("workers end while rings are read and programs run", async () => {
    const elf = join(sandbox.dir, "flood.bpf.o");
    const source = join(sandbox.dir, "worker.mjs");
    writeFileSync(
      source,
      `
      import { readFileSync } from "node:fs";
      import { parentPort } from "node:worker_threads";
      import { BpfObject } from ${JSON.stringify(bindingUrl)};
      const object = BpfObject.open(readFileSync(${JSON.stringify(elf)}));
      await object.load();
      const program = object.program("flood");
      let isFirst = true;
      object.map("events").ringbuf(() => { if (isFirst) parentPort.postMessage("runs"); isFirst = false; });
      for (;;) await program.testRun({ data: new Uint8Array(64), repeat: 10000 });`,
    );
    const start = openDescriptors();
    for (let round = 0; round < 4; round++) {
      const workers = Array.from({ length: 4 }, () => new Worker(source));
      await Promise.all(
        workers.map(
          (worker) => new Promise((resolve, reject) => worker.once("message", resolve).once("error", reject)),
        ),
      );
      await Promise.all(workers.map((worker) => worker.terminate()));
    }
    await until("the descriptors of ended workers are gone", () => openDescriptors() <= start);

    const quick = new Worker(`import(${JSON.stringify(bindingUrl)}).then((b) => b.possibleCpus())`, { eval: true });
    await new Promise((resolve) => quick.once("exit", resolve));
    await using object = BpfObject.open(flood);
    await object.load();
  });
});
