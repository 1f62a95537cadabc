import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { always, blocks, never, Scene, target } from "./testing/scene.ts";
import { Traffic } from "./testing/traffic.ts";

describe("a killed daemon", () => {
  it("leaves the old or the new verdict for every packet, whatever it was doing", async (t) => {
    await using scene = await Scene.make();
    const old = [blocks(always)];
    const next = [blocks(always, "10.9.0.99"), { name: "b", interface: "v0", blacklist: ["10.9.0.98"] }];
    {
      await using daemon = await scene.start();
      await daemon.apply(old);
    }
    await using traffic = await Traffic.start(scene.near, [always, never], scene.far, target);
    let deaths = 0;
    for (let killAfter = 1, isDone = false; !isDone; killAfter++) {
      isDone = true;
      for (const plan of [next, old]) {
        await using daemon = await scene.start({ killAfter });
        const items = await daemon.apply(plan);
        if (items === undefined) {
          assert.equal(await daemon.end(), "SIGKILL");
          deaths++;
          isDone = false;
        }
      }
      await using daemon = await scene.start();
      const items = await daemon.apply(old);
      assert.deepEqual(
        items?.filter(({ state }) => state !== "in-force"),
        [],
      );
      const { hooks } = await daemon.client.observe([]);
      assert.deepEqual(
        hooks.map(({ key, isAttached }) => [key, isAttached]),
        [["xdp/v0", true]],
        `after death ${killAfter}`,
      );
    }
    const { sent, received } = await traffic.stop();
    assert.deepEqual(received[always] ?? [], [], "blocked before and after: none may pass");
    assert.deepEqual(received[never], sent[never], "permitted before and after: none may be lost");
    t.diagnostic(`${deaths} deaths, ${sent[never]?.length} packets of each source`);
    assert.ok(deaths > 20);
  });
});
