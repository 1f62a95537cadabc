import { bytecode } from "./bytecode/bytecode.ts";
import { devices } from "./devices/devices.ts";
import type { Feature } from "./feature.ts";
import { filter } from "./filter/filter.ts";
import { maps } from "./maps/maps.ts";
import { policy } from "./policy/policy-feature.ts";
import { sockets } from "./sockets/sockets.ts";

/** Everything that the data plane of a node can do. */
export const features = [maps, filter, devices, sockets, policy, bytecode] as unknown as readonly Feature[];
