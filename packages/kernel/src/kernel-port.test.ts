import { FakeKernel } from "./fake-kernel.ts";
import { FakeWorld } from "./fake-world.ts";
import { kernelPortContract } from "./kernel-port.contract.ts";

kernelPortContract("FakeKernel", async () => {
  const world = new FakeWorld();
  const object = { name: "contract", digest: "ab".repeat(32) };
  world.objects = new Map([
    [
      "contract",
      { digest: object.digest, entries: ["count_xdp", "count_tc", "count_skb", "count_raw", "count_probe"] },
    ],
  ]);
  world.run = ({ globals }) => {
    const scratch = new Uint8Array(16);
    new DataView(scratch.buffer).setUint32(0, Number(globals["mark"]), true);
    return { verdict: Number(globals["verdict"]), scratch };
  };
  world.addInterface("eth0");
  world.addInterface("dummy0");
  world.genericOnly.add("dummy0");
  world.addCgroup("pods/a");
  return {
    open: async () => new FakeKernel(world),
    interface: "eth0",
    genericInterface: "dummy0",
    removeInterface: async () => world.removeInterface("eth0"),
    renameInterface: async (to) => world.renameInterface("eth0", to),
    addInterface: async () => world.addInterface("eth0"),
    cgroup: "pods/a",
    hasKprobes: false,
    occupy: async () => {
      const foreign = { id: world.nextId(), name: "foreign_xdp" };
      world.foreign.set("xdp/eth0", foreign);
      return foreign;
    },
    userPins: "/run/bpfd/fs/user",
    pinForeign: async (path) => void world.pathPins.set(path, world.nextId()),
    pinnedId: async (path) => world.pathPins.get(path),
    object,
    [Symbol.asyncDispose]: async () => undefined,
  };
});
