import type { Layout } from "../layout.ts";

const stats = { u: Buffer.from([1, 0, 0, 0]) };
const network = { priority: 50, iface: "eth0", direction: "EGRESS", proceed_on: ["PASS", "DISPATCHER_RETURN"] };
const at = (type: string, priority: number) => ({
  priority,
  iface: "eth0",
  position: 3,
  ...(type === "TC" && { direction: "EGRESS" }),
});
const login = { url: "localhost:5000/x:1", image_pull_policy: 2, username: "me", password: "secret" };

export interface LoadSample {
  readonly layout: Layout;
  readonly name: string;
  readonly request: object;
}

/** Every combination of fields that a layout has for one program type and one kind of source. */
export const loadSamples: readonly LoadSample[] = [
  sample("p1", "xdp from an image", {
    path: "image://localhost:5000/x:1",
    from_image: true,
    section_name: "pass",
    network_multi_attach: { priority: 50, iface: "eth0", proceed_on: ["DROP"] },
  }),
  sample("p1", "tc from a file", {
    path: "/x.o",
    section_name: "pass",
    program_type: "TC",
    direction: "INGRESS",
    network_multi_attach: at("", 0),
  }),
  sample("p1", "tracepoint", {
    path: "/x.o",
    section_name: "hello",
    program_type: "TRACEPOINT",
    single_attach: { name: "a/b" },
  }),
  sample("p2", "xdp", { location: "image://localhost:5000/x:1", section_name: "pass", network_multi_attach: network }),
  sample("p2", "tc", {
    location: "file:///x.o",
    section_name: "pass",
    program_type: "TC",
    network_multi_attach: network,
  }),
  sample("p2", "tracepoint", {
    location: "file:///x.o",
    section_name: "hello",
    program_type: "TRACEPOINT",
    single_attach: { name: "a/b" },
  }),
  sample("p2b", "xdp with globals", {
    location: "file:///x.o",
    section_name: "pass",
    network_multi_attach: network,
    global_data: stats,
  }),
  sample("p2b", "tracepoint with globals", {
    location: "file:///x.o",
    section_name: "hello",
    program_type: "TRACEPOINT",
    single_attach: { name: "a/b" },
    global_data: stats,
  }),
  sample("p3", "xdp from an image", { image: login, section_name: "pass", network_multi_attach: network }),
  sample("p3", "tc from a file with globals", {
    file: "/x.o",
    section_name: "pass",
    program_type: "TC",
    network_multi_attach: network,
    global_data: stats,
  }),
  sample("p3", "tracepoint from a file", {
    file: "/x.o",
    section_name: "hello",
    program_type: "TRACEPOINT",
    single_attach: { name: "a/b" },
  }),
  sample("p3", "tracepoint with globals", {
    image: login,
    section_name: "hello",
    program_type: "TRACEPOINT",
    single_attach: { name: "a/b" },
    global_data: stats,
  }),
  sample("p4", "xdp from an image", {
    common: { image: login, section_name: "pass" },
    xdp_attach_info: { ...at("XDP", 7), proceed_on: [2, 31] },
  }),
  sample("p4", "tc from a file", {
    common: { file: "/x.o", section_name: "pass", program_type: 1, global_data: stats },
    tc_attach_info: { ...at("TC", 7), direction: "egress", proceed_on: [2] },
  }),
  sample("p4", "tracepoint", {
    common: { file: "/x.o", section_name: "hello", program_type: 2, id: "0b1c8c2e-55d0-4c0c-a1f3-6f0e6b9f2a10" },
    tracepoint_attach_info: { tracepoint: "a/b" },
  }),
];

function sample(layout: Layout, name: string, request: object): LoadSample {
  return { layout, name, request };
}
