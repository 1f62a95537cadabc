import { devicesObjectLayout } from "./devices/generated/devices.ts";
import { filterObjectLayout } from "./filter/generated/filter.ts";
import { policyObjectLayout } from "./policy/generated/policy.ts";
import { socketsObjectLayout } from "./sockets/generated/sockets.ts";

/** Of the objects that features plan with, by name: a plan for objects of another layout would be read as another. */
export const objectLayouts: Readonly<Record<string, string>> = {
  devices: devicesObjectLayout,
  filter: filterObjectLayout,
  policy: policyObjectLayout,
  sockets: socketsObjectLayout,
};
