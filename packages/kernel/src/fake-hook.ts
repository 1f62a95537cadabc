import { fakeError } from "./fake-world.ts";
import type { HookRequest } from "./port.ts";
import { isInterfacePoint, placeOf, type HookPoint } from "./hook-point.ts";

/** What the kernel says where there is nothing to attach to. */
export function missingPlace(point: HookPoint): Error {
  if (point.hook === "cgroup")
    return fakeError("not-found", `attach to cgroup ${point.path}: it is not there (ENOENT)`, "OPEN", "ENOENT");
  if (!isInterfacePoint(point)) {
    return point.hook === "tracepoint" || point.hook === "raw_tracepoint"
      ? fakeError("not-found", `attach to ${point.hook} ${point.name}: there is none (ENOENT)`, "OPEN", "ENOENT")
      : fakeError(
          "not-supported",
          `attach to ${point.hook} ${placeOf(point)}: this kernel has no ${point.hook}s`,
          "OPEN",
        );
  }
  return fakeError(
    "interface-missing",
    `attach to ${point.interface}: there is no such interface (ENODEV)`,
    "IF_NAMETOINDEX",
    "ENODEV",
  );
}

/** How a hook that is new runs. */
export function modeAt(point: HookPoint, request: HookRequest): string {
  if (point.hook === "xdp") return request.mode;
  if (!isInterfacePoint(point)) return point.hook;
  return request.legacyTc ? "cls_bpf" : "tcx";
}
