import type { Origin } from "@bpfleet/base";
import type { Intent } from "../feature.ts";
import type { PodCgroup } from "../filter/intent.ts";

/** Which device nodes the processes of some pods may open or make; all others are refused with EPERM. */
export interface DevicesIntent extends Intent {
  readonly feature: "devices";
  readonly pods: readonly PodCgroup[];
  readonly priority: number;
  readonly allowed: readonly DeviceRule[];
}

export interface DeviceRule {
  readonly type: "char" | "block";
  readonly major: number;
  /** undefined: every minor. */
  readonly minor: number | undefined;
  readonly text: string;
  readonly origin: Origin;
}
