import { KernelError } from "@bpfleet/base";
import type { KernelPort } from "@bpfleet/kernel";
import type { Machine, MapReading, ReadMapRequest, Survey } from "./machine.ts";
import { renderMapRef } from "./node-maps.ts";

/** What applications without rights may see of a machine: the maps that are pinned for them, to read. */
export class SharedMaps implements Machine {
  readonly #machine: Machine;
  readonly #kernel: Pick<KernelPort, "observe">;

  constructor(machine: Machine, kernel: Pick<KernelPort, "observe">) {
    this.#machine = machine;
    this.#kernel = kernel;
  }

  /** Whatever path or key is asked for, only ids of maps that are pinned for users are looked at. */
  async readMap(request: ReadMapRequest): Promise<MapReading> {
    const { map: ref } = request;
    const { maps } = await this.#kernel.observe();
    const found = maps
      .filter(({ pinPaths }) => pinPaths.length > 0)
      .find(({ key, mapId, pinPaths }) => {
        if (ref.by === "id") return mapId === ref.id;
        return ref.by === "key" ? key === ref.key : pinPaths.includes(ref.path);
      });
    if (found === undefined)
      throw refusal(`read map ${renderMapRef(ref)}`, "no map is pinned for users by that name", "not-found");
    return this.#machine.readMap({ ...request, map: { by: "id", id: found.mapId } });
  }

  async survey(): Promise<Survey> {
    throw refusal("survey the machine", "this socket only reads maps that are pinned for users", "no-permission");
  }

  async writeMap(): Promise<void> {
    throw refusal("write a map", "this socket only reads maps that are pinned for users", "no-permission");
  }
}

function refusal(what: string, why: string, code: KernelError["code"]): KernelError {
  return new KernelError(`${what}: ${why}; ask the daemon's own socket as root`, {
    code,
    call: "MachineService",
    retry: "when-changed",
  });
}
