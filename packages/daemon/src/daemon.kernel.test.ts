import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { mountBpffs, unmount } from "@bpfleet/native";
import type { TraceEvent } from "./daemon.ts";
import { always, blocks, never, Scene, target, until } from "./testing/scene.ts";

describe("startDaemon", () => {
  it("attaches to an interface as soon as it comes, and again when it was made anew", async () => {
    await using scene = await Scene.make();
    scene.sandbox.ip(scene.far, "link", "del", "v0");
    await using daemon = await scene.start();
    await daemon.apply([blocks(always)]);
    for (let round = 0; round < 2; round++) {
      scene.sandbox.ip(scene.near, "link", "add", "v0", "type", "veth", "peer", "name", "v0", "netns", scene.far);
      for (const [netns, address] of [
        [scene.near, "10.9.0.1/24"],
        [scene.far, `${target}/24`],
      ] as const) {
        scene.sandbox.ip(netns, "address", "add", address, "dev", "v0");
        scene.sandbox.ip(netns, "link", "set", "v0", "up");
      }
      scene.addSources();
      // The drift check comes once a minute here: it was the event.
      await until(
        "it is attached",
        () => /"xdp":/.test(scene.sandbox.ip(scene.far, "-j", "link", "show", "dev", "v0")),
        3000,
      );
      await until("permitted packets pass", () => scene.answers(never));
      assert.equal(scene.answers(always), false);
      scene.sandbox.ip(scene.far, "link", "del", "v0");
      await until("it is told", async () => {
        const { facts, results } = await daemon.client.state({ withCounters: false });
        return results.isSettled && !facts.interfaces.some(({ name }) => name === "v0");
      });
    }
  });

  it("adopts what is in force, and removes nothing until a complete plan says so", async () => {
    await using scene = await Scene.make();
    const first = await scene.start();
    await first.apply([blocks(always), { ...blocks(), name: "b", hook: "tc-ingress" }]);
    const before = await first.client.observe([]);
    await first.kill();
    await first[Symbol.asyncDispose]();
    assert.equal(scene.answers(always), false);

    await using second = await scene.start();
    await until("it has looked", async () => (await second.client.state({ withCounters: false })).results.isSettled);
    assert.deepEqual(await second.client.observe([]), before);
    await second.apply([blocks(always)], false);
    assert.deepEqual(await second.client.observe([]), before);
    assert.doesNotMatch(second.log, /"msg":"(done|not done|healed)"/);
    await second.apply([blocks(always)], true);
    const after = await second.client.observe([]);
    assert.deepEqual(
      after.hooks.map(({ key }) => key),
      ["xdp/v0"],
    );
    assert.deepEqual(
      after.hooks.map(({ linkId }) => linkId),
      before.hooks.filter(({ key }) => key === "xdp/v0").map(({ linkId }) => linkId),
    );
    assert.equal(scene.answers(always), false);
  });

  it("applies the last plan again when the bpffs is gone, before anybody speaks", async () => {
    await using scene = await Scene.make();
    const first = await scene.start();
    await first.apply([blocks(always)]);
    await first[Symbol.asyncDispose]();
    // Mount namespaces that others made meanwhile keep the file system alive behind an unmount.
    rmSync(join(scene.options.bpffs, "bpfleet"), { recursive: true });
    await unmount(scene.options.bpffs);
    await until("the kernel let go", () => scene.answers(always));
    await mountBpffs(scene.options.bpffs);
    const second = await scene.start();
    await until("it is in force", () => !scene.answers(always));
    assert.equal(scene.answers(never), true);
    await second[Symbol.asyncDispose]();

    rmSync(join(scene.options.bpffs, "bpfleet"), { recursive: true });
    await unmount(scene.options.bpffs);
    await mountBpffs(scene.options.bpffs);
    writeFileSync(join(scene.options.state, "plan"), "garbage\n");
    await using third = await scene.start();
    await until("it has looked", async () => (await third.client.state({ withCounters: false })).results.isSettled);
    assert.match(third.log, /plan: this is no file of bpfleet/);
    assert.equal(scene.answers(always), true);
    await third.apply([blocks(always)]);
    assert.equal(scene.answers(always), false);
  });

  it("detaches everything on pause, over a restart too, until resume", async () => {
    await using scene = await Scene.make();
    const first = await scene.start();
    await first.apply([blocks(always)]);
    await first.client.pause();
    assert.equal(scene.answers(always), true);
    await first.kill();
    await first[Symbol.asyncDispose]();

    await using second = await scene.start();
    const items = await second.apply([blocks(always)]);
    assert.deepEqual(
      items?.find(({ item }) => item === "hook"),
      {
        item: "hook",
        key: "xdp/v0",
        state: "withheld",
        why: "attach xdp/v0: paused; `ebpfctl resume` attaches it again",
      },
    );
    assert.equal(scene.answers(always), true);
    await second.client.resume();
    assert.equal(scene.answers(always), false);
  });

  it("puts right what others remove, and says so", async () => {
    await using scene = await Scene.make();
    await using daemon = await scene.start({ driftSeconds: 1 });
    await daemon.apply([blocks(always)]);
    const healed = async () =>
      (await daemon.client.state({ withCounters: false })).results.healed.map(({ item, key }) => `${item} ${key}`);
    for (const [folder, expected] of [
      ["links", "hook xdp/v0"],
      ["programs", "program filter/default/a/program"],
      ["maps", "map filter/default/a/reasons"],
    ] as const) {
      const pins = join(scene.options.bpffs, "bpfleet", folder);
      const pin = readdirSync(pins).find((name) => folder !== "maps" || name.includes("reasons"));
      rmSync(join(pins, pin ?? ""));
      await until(`${expected} is healed`, async () => (await healed()).includes(expected));
      await until("packets are dropped", () => !scene.answers(always));
      assert.equal(scene.answers(never), true);
    }
    const { linkId = 0 } = (await daemon.client.observe([])).hooks[0] ?? {};
    const count = (await healed()).length;
    execFileSync("bpftool", ["link", "detach", "id", `${linkId}`]);
    await until("the detached link is healed", async () => (await healed()).length > count);
    assert.equal(scene.answers(always), false);
  });

  it("counts, explains and traces real packets, and explaining changes no map", async () => {
    await using scene = await Scene.make();
    const metricsSocket = join(scene.sandbox.dir, "metrics.sock");
    await using daemon = await scene.start({ metricsSocket });
    await daemon.apply([blocks(always), { ...blocks(), name: "second" }]);
    const { client } = daemon;
    // Each swap of the chain starts its counters anew; the last one puts both programs into one.
    await until("both are inlined", async () => {
      const { results } = await client.state({ withCounters: false });
      return results.items.find(({ item }) => item === "hook")?.hook?.memberModes.join() === "inline,inline";
    });

    const abort = new AbortController();
    const events: TraceEvent[] = [];
    const tracing = (async () => {
      for await (const some of client.trace({ every: 1, only: "drop" }, abort.signal)) events.push(...some);
    })();
    await until("a drop is traced", () => !scene.answers(always) && events.length > 0);
    assert.equal(scene.answers(never), true);
    abort.abort();
    await tracing;
    const [event] = events;
    assert.equal(event?.decision.text, `dropped: source ${always} is on the list`);
    assert.equal(event.interface, "v0");
    assert.equal(event.program, "filter/default/a/program");
    assert.deepEqual(Buffer.from(event.head).readUInt16BE(12), 0x0800);
    assert.ok(events.every(({ decision }) => decision.verdict === "drop"));

    const read = async () => {
      const { counters, hooks } = await client.state({ withCounters: true });
      return {
        counters,
        hooks,
        observed: await client.observe(["filter/default/a/reasons", "filter/default/a/hits", "node/trace"]),
      };
    };
    // Neighbour discovery is over, nothing else speaks here.
    await until(
      "it is quiet",
      async () => {
        const first = JSON.stringify(await read(), bigintText);
        await new Promise((resolve) => setTimeout(resolve, 1500));
        return first === JSON.stringify(await read(), bigintText);
      },
      30_000,
    );
    const before = await read();
    const explanation = await client.explain({ hook: "xdp/v0", packet: event.head });
    assert.deepEqual(
      explanation.steps.map(({ program, verdictName, decision, proceeds }) => ({
        program,
        verdictName,
        text: decision?.text,
        proceeds,
      })),
      [
        {
          program: "filter/default/a/program",
          verdictName: "XDP_DROP",
          text: `dropped: source ${always} is on the list`,
          proceeds: false,
        },
      ],
    );
    const permitted = Buffer.from(event.head);
    permitted.writeUInt8(12, 29);
    const passing = await client.explain({ hook: "xdp/v0", packet: permitted });
    assert.deepEqual(
      passing.steps.map(({ program, verdictName, proceeds }) => [program, verdictName, proceeds]),
      [
        ["filter/default/a/program", "XDP_PASS", true],
        ["filter/default/second/program", "XDP_PASS", false],
      ],
    );
    assert.deepEqual(await read(), before);

    const a = before.counters.find(({ owner }) => owner.name === "a");
    assert.ok((a?.reasons["blacklist"]?.packets ?? 0n) >= BigInt(events.length));
    const [hook] = before.hooks;
    assert.equal(hook?.hook, "xdp/v0");
    const [first, second] = hook.members;
    assert.equal(first?.counts.verdicts["drop"], a?.reasons["blacklist"]?.packets);
    assert.equal(second?.counts.seen, first?.counts.proceeded);
    const text = await new Promise<string>((resolve, reject) => {
      let body = "";
      const call = request({ socketPath: metricsSocket, path: "/metrics" }, (response) =>
        response
          .setEncoding("utf8")
          .on("data", (some: string) => (body += some))
          .on("end", () => resolve(body)),
      );
      call.on("error", reject).end();
    });
    assert.match(text, /^ebpf_xdp_blacklist_entries 1$/m);
    assert.match(
      text,
      new RegExp(
        `^bpfleet_packets_total\\{kind="EBPFProgram",namespace="default",name="a",reason="blacklist",verdict="drop"\\} ${a?.reasons["blacklist"]?.packets}$`,
        "m",
      ),
    );
    assert.match(text, /^bpfleet_apply_seconds_count 1$/m);
  });

  it("works alone: a second one over the same folders is told who is there", async () => {
    await using scene = await Scene.make();
    await using daemon = await scene.start();
    const state = join(scene.sandbox.dir, "other-state");
    mkdirSync(state);
    await assert.rejects(
      scene.start({ socket: `${scene.options.socket}2` }),
      /lock .*\/state: the daemon with pid \d+ works there already; stop it/,
    );
    await assert.rejects(
      scene.start({ state, socket: `${scene.options.socket}2` }),
      /lock .*\/bpffs-0: the daemon with pid \d+ works there already/,
    );
    assert.equal((await daemon.client.version()).version, "0.0.0-test");
    await daemon.kill();
    await using next = await scene.start();
    assert.equal((await next.client.version()).version, "0.0.0-test");
  });

  it("is refused without privileges in a sentence that says what helps", async () => {
    await using scene = await Scene.make();
    const script = new URL("./testing/run-daemon.ts", import.meta.url).pathname;
    const state = join(scene.sandbox.dir, "unprivileged");
    const options = { ...scene.options, state, bpffs: join(state, "fs"), socket: join(state, "d.sock") };
    mkdirSync(state, { mode: 0o777 });
    assert.throws(
      () =>
        execFileSync(
          "setpriv",
          ["--bounding-set=-all", "--inh-caps=-all", process.execPath, script, JSON.stringify(options)],
          { stdio: "pipe", encoding: "utf8" },
        ),
      (error) => /KernelError: (use|mount) .*fs: /.test((error as { stderr: string }).stderr),
    );
  });
});

const bigintText = (_: string, value: unknown): unknown => (typeof value === "bigint" ? value.toString() : value);
