import type { DeviceRule } from "@bpfleet/features";

/**
 * The devices that container runtimes give every container, so that ordinary images keep working.
 * https://github.com/opencontainers/runtime-spec/blob/main/config-linux.md#default-devices
 */
export const defaultDevices: readonly Omit<DeviceRule, "origin">[] = [
  { type: "char", major: 1, minor: 3, text: "/dev/null" },
  { type: "char", major: 1, minor: 5, text: "/dev/zero" },
  { type: "char", major: 1, minor: 7, text: "/dev/full" },
  { type: "char", major: 1, minor: 8, text: "/dev/random" },
  { type: "char", major: 1, minor: 9, text: "/dev/urandom" },
  { type: "char", major: 5, minor: 0, text: "/dev/tty" },
  { type: "char", major: 5, minor: 1, text: "/dev/console" },
  { type: "char", major: 5, minor: 2, text: "/dev/ptmx" },
  { type: "char", major: 136, minor: undefined, text: "/dev/pts/*" },
];
