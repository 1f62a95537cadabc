import assert from "node:assert/strict";
import { hookGeneration } from "./identity.ts";
import {
  loaded,
  proceed,
  programIds,
  rejects,
  request,
  type Contract,
  type ContractHarness,
} from "./kernel-port-setup.contract.ts";
import type { ChainMember, HookRequest } from "./port.ts";
import { renderHookKey, type HookPoint } from "./hook-point.ts";

export function hookContract(contract: Contract): void {
  const points: readonly {
    readonly point: (kernel: ContractHarness) => HookPoint;
    readonly entry: string;
    readonly pass: number;
  }[] = [
    { point: (kernel) => ({ hook: "xdp", interface: kernel.interface }), entry: "count_xdp", pass: 2 },
    {
      point: (kernel) => ({ hook: "tc", interface: kernel.interface, direction: "ingress" }),
      entry: "count_tc",
      pass: -1,
    },
    {
      point: (kernel) => ({ hook: "tc", interface: kernel.interface, direction: "egress" }),
      entry: "count_tc",
      pass: -1,
    },
  ];
  contract("observe looks at hooks that are known only where it is told to", async (port, kernel) => {
    const point: HookPoint = { hook: "tc", interface: kernel.interface, direction: "ingress" };
    const other: HookPoint = { ...point, direction: "egress" };
    const { member } = await loaded(port, kernel, "count_tc");
    for (const at of [point, other]) await port.setHook(request(at, [member]));
    const { hooks } = await port.observe();
    const [key, otherKey] = [renderHookKey(point), renderHookKey(other)];
    const stale = hooks.map((hook) => ({ ...hook, generation: "earlier" }));
    const generations = async (again: readonly string[], known = stale): Promise<Record<string, string>> => {
      const observed = await port.observe({ hooks: known, again: new Set(again) });
      return Object.fromEntries(observed.hooks.map((hook) => [hook.key, hook.generation]));
    };
    const now = Object.fromEntries(hooks.map((hook) => [hook.key, hook.generation]));
    assert.deepEqual(await generations([]), { [key]: "earlier", [otherKey]: "earlier" });
    assert.deepEqual(await generations([key]), { ...now, [otherKey]: "earlier" });
    assert.deepEqual(await generations([key, otherKey], []), now);
    await port.clearHook(key);
    assert.deepEqual(await generations([key]), { [otherKey]: "earlier" });
  });

  for (const legacyTc of [false, true]) {
    for (const { point: pointIn, entry, pass } of points) {
      if (legacyTc && entry === "count_xdp") continue;
      const where = `${entry} ${pointIn === points[2]?.point ? "egress" : "ingress"}${legacyTc ? " by cls_bpf" : ""}`;

      contract(`setHook attaches, replaces, makes a chain, goes back and clears: ${where}`, async (port, kernel) => {
        const point = pointIn(kernel);
        const one = (await loaded(port, kernel, entry, { verdict: pass }, "one")).member;
        const two = (await loaded(port, kernel, entry, { verdict: pass }, "two")).member;
        const key = renderHookKey(point);
        const set = async (members: readonly ChainMember[]) => {
          const result = await port.setHook(request(point, members, { legacyTc }));
          const [hook, ...others] = (await (await kernel.open()).observe()).hooks;
          assert.equal(others.length, 0);
          assert.ok(hook !== undefined);
          assert.equal(hook.key, key);
          assert.deepEqual(hook.point, point);
          assert.ok(hook.isAttached);
          assert.equal(hook.generation, hookGeneration(point, members));
          assert.deepEqual(hook.members, await programIds(port, members));
          assert.deepEqual({ ...hook.result, reason: undefined }, { ...result, reason: undefined });
          return hook;
        };
        const direct = await set([one]);
        assert.equal(direct.result.chain, "direct");
        assert.equal(await port.readHook(key), undefined);
        assert.equal((await set([one])).programId, direct.programId);
        const replaced = await set([two]);
        assert.equal(replaced.linkId, direct.linkId, "one link all along");
        const chain = await set([proceed(one, pass), proceed(two, pass)]);
        assert.equal(chain.result.chain, "chain");
        assert.deepEqual(chain.result.memberModes, ["stub", "stub"]);
        assert.equal(chain.linkId, direct.linkId);
        assert.equal((await port.readHook(key))?.generation, chain.generation);
        assert.equal((await set([proceed(one, pass), proceed(two, pass)])).programId, chain.programId);
        const reordered = await set([proceed(two, pass), proceed(one, pass)]);
        assert.notEqual(reordered.generation, chain.generation);
        const inline = await set([proceed(two, pass, "inline"), proceed(one, pass, "inline")]);
        assert.deepEqual(inline.result.memberModes, ["inline", "inline"]);
        assert.equal((await set([one])).result.chain, "direct");
        await port.clearHook(key);
        await port.clearHook(key);
        assert.deepEqual((await port.observe()).hooks, []);
        const again = await set([one, two].map((member) => proceed(member, pass)));
        assert.equal(again.result.chain, "chain");
      });
    }
  }

  for (const legacyTc of [false, true])
    contract(`setHook sets both directions at once${legacyTc ? " by cls_bpf" : ""}`, async (port, kernel) => {
      const { member } = await loaded(port, kernel, "count_tc");
      const directions = ["ingress", "egress"] as const;
      const pointAt = (direction: (typeof directions)[number]): HookPoint => ({
        hook: "tc",
        interface: kernel.interface,
        direction,
      });
      await Promise.all(directions.map((at) => port.setHook(request(pointAt(at), [member], { legacyTc }))));
      const { hooks } = await (await kernel.open()).observe();
      const attached = new Set(hooks.flatMap(({ key, isAttached }) => (isAttached ? [key] : [])));
      assert.deepEqual(attached, new Set(directions.map((at) => renderHookKey(pointAt(at)))));
      for (const { key } of hooks) await port.clearHook(key);
      assert.deepEqual((await port.observe()).hooks, []);
    });

  contract("setHook says tcx or cls_bpf, native or skb", async (port, kernel) => {
    const xdp = (await loaded(port, kernel, "count_xdp")).member;
    const tc = (await loaded(port, kernel, "count_tc")).member;
    assert.equal((await port.setHook(request({ hook: "xdp", interface: kernel.interface }, [xdp]))).mode, "native");
    const ingress: HookPoint = { hook: "tc", interface: kernel.interface, direction: "ingress" };
    const egress: HookPoint = { hook: "tc", interface: kernel.interface, direction: "egress" };
    assert.equal((await port.setHook(request(ingress, [tc]))).mode, "tcx");
    assert.equal((await port.setHook(request(egress, [tc], { legacyTc: true }))).mode, "cls_bpf");
    const generic: HookPoint = { hook: "xdp", interface: kernel.genericInterface };
    await rejects(port.setHook(request(generic, [xdp])), "not-supported");
    assert.equal((await port.setHook(request(generic, [xdp], { mode: "skb" }))).mode, "skb");
    assert.equal((await port.setHook(request(generic, [xdp]))).mode, "skb", "what is in force stays");
  });

  contract(
    "setHook attaches anew in the mode that is fixed, and leaves what ran where that cannot be",
    async (port, kernel) => {
      const xdp = (await loaded(port, kernel, "count_xdp")).member;
      const point: HookPoint = { hook: "xdp", interface: kernel.interface };
      const modes: string[] = [];
      for (const mode of ["native", "skb", "native"] as const) {
        const set = () => port.setHook(request(point, [xdp], { mode, isModeFixed: true }));
        modes.push((await set()).mode);
        const [hook] = (await port.observe()).hooks;
        assert.equal(hook?.result.mode, mode);
        await set();
        assert.equal((await port.observe()).hooks[0]?.linkId, hook?.linkId, "what is as asked is left alone");
      }
      assert.deepEqual(modes, ["native", "skb", "native"]);
      const generic: HookPoint = { hook: "xdp", interface: kernel.genericInterface };
      assert.equal((await port.setHook(request(generic, [xdp], { mode: "skb", isModeFixed: true }))).mode, "skb");
      await rejects(port.setHook(request(generic, [xdp], { mode: "native", isModeFixed: true })), "not-supported");
      const there = (await port.observe()).hooks.find(({ key }) => key === renderHookKey(generic));
      assert.deepEqual([there?.isAttached, there?.result.mode], [true, "skb"]);
    },
  );

  contract("setHook attaches to a cgroup, for each program its own link", async (port, kernel) => {
    const one = (await loaded(port, kernel, "count_skb", { verdict: 1 }, "one")).member;
    const two = (await loaded(port, kernel, "count_skb", { verdict: 1 }, "two")).member;
    const points = [one, two].map((member): HookPoint => ({
      hook: "cgroup",
      path: kernel.cgroup,
      attach: "egress",
      member: member.spec.key,
    }));
    for (const [index, member] of [one, two].entries()) {
      const result = await port.setHook(request(points[index] as HookPoint, [member]));
      assert.deepEqual(result, { mode: "cgroup", chain: "direct", memberModes: [] });
    }
    const { hooks } = await (await kernel.open()).observe();
    assert.deepEqual(hooks.map((hook) => hook.key).toSorted(), points.map(renderHookKey).toSorted());
    assert.ok(hooks.every((hook) => hook.isAttached));
    await rejects(
      port.setHook(request({ hook: "cgroup", path: `${kernel.cgroup}/gone`, attach: "egress", member: "x" }, [one])),
      "not-found",
    );
  });

  contract(
    "setHook attaches to a tracepoint, lets the next program watch in its place, and clears",
    async (port, kernel) => {
      const one = (await loaded(port, kernel, "count_raw", {}, "one")).member;
      const other = (await loaded(port, kernel, "count_raw", { mark: 1 }, "one")).member;
      const point: HookPoint = { hook: "raw_tracepoint", name: "sys_enter", member: one.spec.key };
      const key = renderHookKey(point);
      const result = await port.setHook(request(point, [one]));
      assert.deepEqual(result, { mode: "raw_tracepoint", chain: "direct", memberModes: [] });
      const look = async () => (await (await kernel.open()).observe()).hooks;
      const [before] = await look();
      assert.deepEqual(before?.point, point);
      assert.deepEqual(before?.result, result);
      assert.equal(before?.generation, hookGeneration(point, [one]));
      assert.ok(before?.isAttached);
      await port.setHook(request(point, [one]));
      assert.deepEqual(await look(), [before]);
      await port.setHook(request(point, [other]));
      const after = await look();
      assert.deepEqual(
        after.map(({ members }) => members),
        [await programIds(port, [other])],
      );
      assert.equal(after[0]?.generation, hookGeneration(point, [other]));
      assert.equal(await port.readHook(key), undefined);
      const none: HookPoint = { ...point, name: "no_such" };
      const error = await rejects(port.setHook(request(none, [one])), "not-found");
      assert.match(error.message, /no_such/);
      await port.clearHook(key);
      await port.clearHook(key);
      assert.deepEqual(await look(), []);
    },
  );

  contract("setHook says that this kernel has no kprobes", async (port, kernel) => {
    if (kernel.hasKprobes) return;
    const { member } = await loaded(port, kernel, "count_probe");
    const point: HookPoint = { hook: "kprobe", function: "do_exit", offset: 0, member: member.spec.key };
    const error = await rejects(port.setHook(request(point, [member])), "not-supported");
    assert.match(error.message, /kprobe/);
    assert.deepEqual((await port.observe()).hooks, []);
  });

  contract("setHook names the foreign program that holds the hook, and leaves it", async (port, kernel) => {
    const foreign = await kernel.occupy();
    const { member } = await loaded(port, kernel, "count_xdp");
    const error = await rejects(port.setHook(request({ hook: "xdp", interface: kernel.interface }, [member])), "busy");
    assert.match(error.message, new RegExp(`${foreign.id}\\b`));
    assert.match(error.message, new RegExp(foreign.name));
    assert.deepEqual((await port.observe()).hooks, []);
    const { programs } = await port.inventory();
    assert.equal(programs.find((program) => program.id === foreign.id)?.ours, undefined);
    await port.removeEverything();
    assert.ok((await port.inventory()).programs.some((program) => program.id === foreign.id));
  });

  contract("setHook says when an interface or a program is not there", async (port, kernel) => {
    const { member } = await loaded(port, kernel, "count_xdp");
    const error = await rejects(
      port.setHook(request({ hook: "xdp", interface: "nosuch0" }, [member])),
      "interface-missing",
    );
    assert.equal(error.retry, "when-changed");
    const gone = { ...member, identity: { ...member.identity, generation: "gone" } };
    await rejects(port.setHook(request({ hook: "xdp", interface: kernel.interface }, [gone])), "not-found");
    assert.deepEqual((await port.observe()).hooks, []);
  });

  for (const hook of ["xdp", "tc"] as const) {
    contract(`setHook attaches again to an interface that came back: ${hook}`, async (port, kernel) => {
      const { member } = await loaded(port, kernel, `count_${hook}`);
      const point: HookPoint =
        hook === "xdp"
          ? { hook, interface: kernel.interface }
          : { hook, interface: kernel.interface, direction: "ingress" };
      await port.setHook(request(point, [member]));
      await kernel.removeInterface();
      assert.deepEqual(
        (await port.observe()).hooks.map((each) => each.isAttached),
        [false],
      );
      await rejects(port.setHook(request(point, [member])), "interface-missing");
      await kernel.addInterface();
      assert.deepEqual(
        (await port.observe()).hooks.map((each) => each.isAttached),
        [false],
      );
      await port.setHook(request(point, [member]));
      assert.deepEqual(
        (await port.observe()).hooks.map((each) => each.isAttached),
        [true],
      );
      await kernel.removeInterface();
      await port.clearHook(renderHookKey(point));
      assert.deepEqual((await port.observe()).hooks, []);
    });
  }

  for (const [hook, legacyTc] of [
    ["xdp", false],
    ["tc", false],
    ["tc", true],
  ] as const) {
    const how = legacyTc ? "cls_bpf" : hook;
    contract(`setHook leaves on an interface what it has when it gets another name: ${how}`, async (port, kernel) => {
      const { member } = await loaded(port, kernel, `count_${hook}`);
      const at = (name: string): HookPoint =>
        hook === "xdp" ? { hook, interface: name } : { hook, interface: name, direction: "ingress" };
      const ask = (name: string): HookRequest => ({ ...request(at(name), [member]), legacyTc });
      await port.setHook(ask(kernel.interface));
      const [before] = (await port.observe()).hooks;
      await kernel.renameInterface("renamed0");
      await port.setHook(ask("renamed0"));
      await port.clearHook(renderHookKey(at(kernel.interface)));
      const [after, ...others] = (await port.observe()).hooks;
      assert.deepEqual(others, []);
      assert.equal(after?.key, renderHookKey(at("renamed0")));
      assert.ok(after.isAttached);
      assert.equal(after.linkId, before?.linkId, "the same link: not one packet went by it");
      await port.clearHook(after.key);
      assert.deepEqual((await port.observe()).hooks, []);
    });
  }

  contract("observe tells a program that was loaded again from the one that is attached", async (port, kernel) => {
    const { member } = await loaded(port, kernel, "count_xdp");
    const point: HookPoint = { hook: "xdp", interface: kernel.interface };
    await port.setHook(request(point, [member]));
    const [before] = (await port.observe()).hooks;
    await port.removeProgram(member.identity);
    await port.loadProgram(member.spec, member.identity, member.maps);
    const after = await port.observe();
    assert.deepEqual(after.hooks[0]?.members, before?.members);
    assert.equal(after.hooks[0]?.generation, "");
    assert.notEqual(after.programs[0]?.programId, before?.members[0]);
    await port.setHook(request(point, [member]));
    assert.deepEqual((await port.observe()).hooks[0]?.members, [after.programs[0]?.programId]);
  });
}
