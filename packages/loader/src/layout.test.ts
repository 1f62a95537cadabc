import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { MessageWriter } from "./fields.ts";
import { encodeListResponse } from "./list-response.ts";
import { layouts } from "./layout.ts";
import { parseLoadRequest } from "./load-request.ts";
import { Refusal } from "./refusal.ts";
import { bpfdProtos } from "./testing/bpfd-protos.ts";
import { loadSamples } from "./testing/load-samples.ts";

for (const { layout, name, request } of loadSamples)
  test(`parseLoadRequest recognizes ${layout}: ${name}`, () => {
    const parsed = parseLoadRequest(bpfdProtos[layout].encode("LoadRequest", request));
    assert.equal(parsed.layout, layout);
    const { section, attach, source } = parsed.wish;
    assert.equal(section, attach.type === "TRACEPOINT" ? "hello" : "pass");
    if (attach.type === "TRACEPOINT") assert.equal(attach.name, "a/b");
    else assert.equal(attach.interface, "eth0");
    if ("file" in source) assert.equal(source.file, "/x.o");
    else assert.equal(source.image, "localhost:5000/x:1");
  });

test("parseLoadRequest reads priority, direction and proceed-on of p2", () => {
  const request = loadSamples.find(({ layout, name }) => layout === "p2" && name === "tc")!;
  assert.deepEqual(parseLoadRequest(bpfdProtos.p2.encode("LoadRequest", request.request)).wish.attach, {
    type: "TC",
    interface: "eth0",
    priority: 50,
    direction: "EGRESS",
    proceedOn: ["PASS", "DISPATCHER_RETURN"],
  });
});

test("parseLoadRequest reads global data and the password of a registry", () => {
  const [, , , image] = loadSamples.filter(({ layout }) => layout === "p3");
  const { wish } = parseLoadRequest(bpfdProtos.p3.encode("LoadRequest", image!.request));
  assert.deepEqual(wish.source, {
    image: "localhost:5000/x:1",
    pullPolicy: "Never",
    username: "me",
    password: "secret",
  });
  assert.deepEqual(
    [...wish.globals].map(([name, bytes]) => [name, [...bytes]]),
    [["u", [1, 0, 0, 0]]],
  );
});

test("parseLoadRequest refuses what no layout has", () => {
  const refused = [
    new Uint8Array(),
    new MessageWriter().text(1, "image://x").finish(),
    new MessageWriter().int32(9, 1).finish(),
    bpfdProtos.p2.encode("LoadRequest", { location: "x", section_name: "pass", network_multi_attach: { iface: "e" } }),
    bpfdProtos.p2.encode("LoadRequest", {
      location: "file:///x",
      section_name: "pass",
      program_type: 7,
      network_multi_attach: { iface: "e" },
    }),
  ];
  for (const bytes of refused) assert.throws(() => parseLoadRequest(bytes), Refusal);
});

test("parseLoadRequest answers any bytes with a request or a Refusal", () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
      try {
        assert.ok(layouts.includes(parseLoadRequest(bytes).layout));
      } catch (error) {
        assert.ok(error instanceof Refusal);
      }
    }),
  );
});

test("encodeListResponse is read by the clients of every layout", () => {
  const network = { type: "TC", interface: "eth0", priority: 5, direction: "EGRESS", proceedOn: ["DROP"] } as const;
  const image = { image: "r/x:1", pullPolicy: "Never", username: "me", password: "secret" } as const;
  const programs = [
    { id: "a", name: "pass", source: { file: "/x.o" }, attach: { type: "TRACEPOINT", name: "a/b" } },
    { id: "b", name: "stats", source: image, attach: network },
  ] as const;
  const told = Object.fromEntries(
    layouts.map((layout) => [
      layout,
      bpfdProtos[layout].decode("ListResponse", encodeListResponse(programs, layout))["results"],
    ]),
  );
  const single = { id: "a", name: "pass", program_type: "TRACEPOINT", single_attach: { name: "a/b" } };
  const multi = { priority: 5, iface: "eth0" };
  const second = { id: "b", name: "stats", program_type: "TC" };
  const directed = { ...multi, direction: "EGRESS", proceed_on: ["DROP"] };
  const p2 = [
    { ...single, location: "file:///x.o" },
    { ...second, location: "image://r/x:1", network_multi_attach: directed },
  ];
  assert.deepEqual(told, {
    p1: [
      { ...single, path: "/x.o" },
      { ...second, path: "r/x:1", network_multi_attach: { ...multi, proceed_on: ["DROP"] } },
    ],
    p2,
    p2b: p2,
    p3: [
      { ...single, file: "/x.o" },
      { ...second, image: { url: "r/x:1", image_pull_policy: 2 }, network_multi_attach: directed },
    ],
    p4: [
      { id: "a", name: "pass", program_type: 2, file: "/x.o", tracepoint_attach_info: { tracepoint: "a/b" } },
      {
        id: "b",
        name: "stats",
        program_type: 1,
        image: { url: "r/x:1", image_pull_policy: 2 },
        tc_attach_info: { ...multi, direction: "egress", proceed_on: [1] },
      },
    ],
  });
});
