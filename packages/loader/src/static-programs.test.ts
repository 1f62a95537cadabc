import assert from "node:assert/strict";
import { test } from "node:test";
import { parseStaticPrograms } from "./static-programs.ts";

/** As bpfd's guide has it. */
const documented = `
[[programs]]
name = "program0"
interface = "eth0"
path = "/usr/local/lib/filter.o"
section_name = "pass"
program_type = "xdp"
priority = 50
proceed_on = ["pass", "dispatcher_return"]

[[programs]]
name = "program1"
interface = "eth0"
path = "/usr/local/lib/filter.o"
section_name = "drop"
program_type = "xdp"
priority = 55
proceed_on = ["pass", "dispatcher_return"]
`;
const least = 'name = "a"\ninterface = "eth0"\npath = "/x.o"\nsection_name = "pass"\nprogram_type = "XDP"\n';

test("parseStaticPrograms makes a config of each program of a file", () => {
  const programs = parseStaticPrograms(documented);
  assert.deepEqual(
    programs.map(({ config }) => config.metadata),
    ["static-program0", "static-program1"].map((name) => ({
      name,
      annotations: { "bpfleet.io/loaded-by": "programs.d" },
    })),
  );
  assert.deepEqual(programs[1]?.config.spec, {
    name: "drop",
    type: "XDP",
    nodeselector: {},
    attachpoint: {
      networkmultiattach: {
        interface: "eth0",
        priority: 55,
        direction: "NONE",
        proceedon: ["PASS", "DISPATCHER_RETURN"],
      },
    },
    bytecode: "file:///usr/local/lib/filter.o",
  });
  assert.deepEqual(parseStaticPrograms(""), []);
  const [plain] = parseStaticPrograms(`[[programs]]\n${least}`);
  assert.match(JSON.stringify(plain?.config.spec), /"interface":"eth0","priority":50,"direction":"NONE"}/);
});

test("parseStaticPrograms names the key that is wrong", () => {
  for (const [text, what] of [
    ["programs = 5\n", /^SyntaxError: programs: must be a list/],
    ["[program]\n", /program: is no key here; there are programs/],
    ["[[programs]]\n", /programs\[0\]\.name: is missing/],
    [`[[programs]]\n${least}[[programs]]\n${least}mtu = 5\n`, /programs\[1\]\.mtu: is no key here; there are name/],
    [`[[programs]]\n${least.replace('"a"', '"A b"')}`, /programs\[0\]\.name: must be lower-case letters/],
    [
      `[[programs]]\n${least.replace("XDP", "tc")}`,
      /program_type: must be xdp, is "tc"; declare it as a BpfProgramConfig/,
    ],
    [`[[programs]]\n${least.replace("/x.o", "x.o")}`, /path: must begin with \//],
    [`[[programs]]\n${least}priority = 1001\n`, /priority: must be a whole number from 0 to 1000/],
    [`[[programs]]\n${least}proceed_on = "pass"\n`, /proceed_on: must be a list/],
    [`[[programs]]\n${least}proceed_on = ["pass", "PASS"]\n`, /proceed_on\[1\]: must be one of aborted, drop, pass/],
  ] as const)
    assert.throws(() => parseStaticPrograms(text), what, text);
});
