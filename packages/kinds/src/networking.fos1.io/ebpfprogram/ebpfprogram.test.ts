import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { renderPrefix } from "../../address/prefix.ts";
import { issueLines, readAll } from "../../testing/read-all.ts";
import type { DevicesIntent, FilterIntent, SocketsIntent } from "@bpfleet/features";

const sample = readFileSync(new URL("samples/xdp-packet-filter.yaml", import.meta.url), "utf8");
const mapSample = readFileSync(new URL("../ebpfmap/samples/blacklist-map.yaml", import.meta.url), "utf8");

function program(spec: string, name = "p"): string {
  return `apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFProgram\nmetadata: {name: ${name}}\nspec:\n${spec.replaceAll(/^/gm, "  ")}\n`;
}

function pod(name: string, cgroup?: string): string {
  const annotations = cgroup === undefined ? "" : `, annotations: {bpfleet.io/cgroup: ${cgroup}}`;
  return `---\napiVersion: v1\nkind: Pod\nmetadata: {name: ${name}${annotations}}\n---\n`;
}

test("EBPFProgram lowers the document's xdp-packet-filter with the line of every rule", () => {
  const { lower, issues } = readAll(`${sample}---\n${mapSample}`);
  assert.deepEqual(issues, []);
  const { intents, problems } = lower();
  assert.deepEqual(problems, []);
  const filter = intents.find((intent): intent is FilterIntent => intent.feature === "filter");
  assert.deepEqual(filter?.at, { hook: "xdp", interface: "eth0" });
  assert.equal(filter?.priority, 10);
  assert.equal(filter?.isStateful, true);
  assert.equal(filter?.rateLimit?.packetsPerSecond, 10_000);
  assert.equal(filter?.rateLimit?.origin.position?.line, 13);
  assert.deepEqual(
    filter?.blacklist?.entries.map(({ prefix, text, origin }) => [
      renderPrefix(prefix),
      text,
      origin.path,
      origin.position?.line,
    ]),
    [
      ["192.168.1.100", "192.168.1.100", "/spec/settings/blacklist/ips/0", 17],
      ["10.10.10.0/24", "10.10.10.0/24", "/spec/settings/blacklist/ips/1", 18],
    ],
  );
  assert.deepEqual(
    filter?.maps.map(({ mapKey, family, origin }) => [
      mapKey,
      family,
      origin.object.name,
      origin.path,
      origin.position?.line,
    ]),
    [["maps/default/blacklist-map", 4, "blacklist-map", "/spec/accessedBy/0", 34]],
  );
});

test("EBPFProgram parses to what an API server keeps: pruned, with defaults", () => {
  const { parsed } = readAll(
    program("type: tc-egress\ninterface: eth0\nsettings:\n  rateLimiting: {}\n  trafficControl: {enableMarking: on}\n"),
  );
  assert.deepEqual(parsed[0]?.object.spec, {
    type: "tc-egress",
    interface: "eth0",
    priority: 10,
    settings: {
      stateful: false,
      rateLimiting: { enabled: false, packetsPerSecond: 1000 },
      trafficControl: {
        enableMarking: true,
        defaultMark: 0,
        markMask: 4294967295,
        enableQoS: false,
        enableDSCP: false,
      },
    },
  });
});

test("EBPFProgram tells every mistake at once, each with its line", () => {
  const text = program(`type: xpd
interfce: eth0
priority: -1
settings:
  rateLimiting: {enabled: "true", packetsPerSecond: 0}
  blacklist:
    ips: [10.0.0, 10.10.10.5/24, 7]
  trafficControl: {enableDSCP: true, defaultMark: 64}`);
  assert.deepEqual(issueLines(text), [
    '5: error spec.type: must be one of xdp, tc-ingress, tc-egress, sockops, cgroup, is "xpd"; did you mean xdp?',
    "6: warning spec.interfce: unknown field, left out; did you mean interface?",
    "7: error spec.priority: must be at least 0, is -1",
    '9: error spec.settings.rateLimiting.enabled: must be true or false, is "true"',
    "9: error spec.settings.rateLimiting.packetsPerSecond: must be at least 1, is 0",
    "10: warning spec.settings.blacklist.enabled: is false, so the list is not used",
    '11: error spec.settings.blacklist.ips[0]: must be an IPv4 or IPv6 address or a CIDR, is "10.0.0": an IPv4 address has 4 numbers, this has 3',
    "11: warning spec.settings.blacklist.ips[1]: 10.10.10.5/24 has bits set past its length; read as 10.10.10.0/24",
    "11: error spec.settings.blacklist.ips[2]: must be text, is 7; put it in quotes",
    "12: error spec.settings.trafficControl.defaultMark: must be at most 63 with enableDSCP: it is the DSCP value",
  ]);
});

test("EBPFProgram refuses settings that its type cannot serve", () => {
  const lines = (type: string, settings: string): string[] =>
    issueLines(program(`type: ${type}\ninterface: eth0\nsettings: ${settings}`)).map((line) =>
      line.replace(/: .*$/, "").replace("7: ", ""),
    );
  assert.match(
    issueLines(program("type: xdp\ninterface: eth0\nsettings: {trafficControl: {enableMarking: true}}"))[0] ?? "",
    /enableMarking: needs type tc-ingress or tc-egress: the kernel keeps marks only from there on/,
  );
  assert.equal(lines("xdp", "{trafficControl: {enableQoS: true, enableDSCP: true}}").length, 2);
  assert.equal(
    lines("tc-ingress", "{trafficControl: {enableQoS: true, enableDSCP: true, enableMarking: true}}").length,
    0,
  );
  assert.equal(
    lines("xdp", "{containerPolicy: {enableAccounting: true, enableEgressControl: true, enableDeviceControl: true}}")
      .length,
    3,
  );
  assert.equal(lines("tc-egress", "{socketOps: {enableRedirection: true, enableTracing: true}}").length, 2);
  assert.equal(
    issueLines(program("type: sockops\nsettings: {rateLimiting: {enabled: true}, blacklist: {enabled: true}}")).length,
    2,
  );
});

test("EBPFProgram needs an interface for the types that run on one, and warns where it has no effect", () => {
  for (const type of ["xdp", "tc-ingress", "tc-egress"]) {
    assert.deepEqual(issueLines(program(`type: ${type}`)), [
      "4: error spec.interface: is required for types xdp, tc-ingress and tc-egress",
    ]);
  }
  for (const type of ["cgroup", "sockops"]) {
    assert.deepEqual(issueLines(program(`type: ${type}`)), []);
    assert.deepEqual(issueLines(program(`type: ${type}\ninterface: eth0`)), [
      `6: warning spec.interface: has no effect for type ${type}, which runs on the pods of the namespace`,
    ]);
  }
});

test("EBPFProgram warns of addresses that are written twice, and counts the first", () => {
  const text = program(
    'type: xdp\ninterface: eth0\nsettings:\n  blacklist: {enabled: true, ips: ["10.0.0.1", "10.0.0.0/8", "10.1.0.0/8", "10.0.0.1/32"]}',
  );
  assert.deepEqual(issueLines(text), [
    "8: warning spec.settings.blacklist.ips[2]: 10.1.0.0/8 has bits set past its length; read as 10.0.0.0/8",
    "8: warning spec.settings.blacklist.ips[2]: 10.1.0.0/8 is already in spec.settings.blacklist.ips[1]",
    "8: warning spec.settings.blacklist.ips[3]: 10.0.0.1/32 is already in spec.settings.blacklist.ips[0]",
  ]);
  const filter = readAll(text).lower().intents[0] as FilterIntent;
  assert.deepEqual(
    filter.blacklist?.entries.map((entry) => entry.text),
    ["10.0.0.1", "10.0.0.0/8"],
  );
});

test("EBPFProgram lowers marks, DSCP and priorities for tc types", () => {
  const text = program(
    "type: tc-egress\ninterface: eth0\nsettings:\n  stateful: true\n  trafficControl: {enableMarking: true, enableDSCP: true, enableQoS: true, defaultMark: 46, markMask: 0x0f}",
  );
  const filter = readAll(text).lower().intents[0] as FilterIntent;
  assert.deepEqual(
    [filter.mark?.skb, filter.mark?.dscp, filter.mark?.priorityFromDscp],
    [{ value: 14, mask: 15 }, 46, true],
  );
  assert.equal(filter.isStateful, false);
  assert.deepEqual(issueLines(text), ["8: warning spec.settings.stateful: has no effect for type tc-egress"]);
  const high = readAll(
    program(
      "type: tc-ingress\ninterface: e\nsettings: {trafficControl: {enableMarking: true, defaultMark: 0xFFFFFFFF}}",
    ),
  ).lower().intents[0] as FilterIntent;
  assert.deepEqual(high.mark?.skb, { value: 4294967295, mask: 4294967295 });
});

test("EBPFProgram of type cgroup runs on the pods of its namespace that have a cgroup", () => {
  const settings =
    'settings:\n  blacklist: {enabled: true, ips: ["10.9.0.0/16"]}\n  rateLimiting: {enabled: true, packetsPerSecond: 5}\n  containerPolicy: {enableAccounting: true, enableEgressControl: true}';
  const { lower, issues } = readAll(
    pod("web", "apps/web") + pod("bare") + pod("db", "/sys/fs/cgroup/db") + program(`type: cgroup\n${settings}`),
  );
  assert.deepEqual(issues, []);
  const { intents, problems } = lower();
  const [filter, counting] = intents as FilterIntent[];
  const pods = [
    { pod: "db", namespace: "default", path: "/sys/fs/cgroup/db" },
    { pod: "web", namespace: "default", path: "apps/web" },
  ];
  assert.deepEqual(filter?.at, { hook: "cgroup", pods, directions: ["egress"] });
  assert.deepEqual(counting?.at, { hook: "cgroup", pods, directions: ["ingress"] });
  assert.deepEqual(
    [counting?.blacklist, counting?.rateLimit, counting?.accounting],
    [undefined, undefined, filter?.accounting],
  );
  assert.equal(filter?.accounting?.origin.path, "/spec/settings/containerPolicy/enableAccounting");
  assert.deepEqual([filter?.blacklist?.entries.length, filter?.rateLimit?.packetsPerSecond], [1, 5]);
  assert.deepEqual(
    problems.map(({ severity, reason, message }) => [severity, reason, message]),
    [["note", "PodWithoutCgroup", "pod default/bare is left out: it has no annotation bpfleet.io/cgroup"]],
  );
});

test("EBPFProgram of type cgroup controls egress only when asked", () => {
  const blacklist = 'blacklist: {enabled: true, ips: ["10.9.0.0/16"]}';
  const accounting = readAll(
    pod("web", "web") + program(`type: cgroup\nsettings: {${blacklist}, containerPolicy: {enableAccounting: true}}`),
  );
  const [counting] = accounting.lower().intents as FilterIntent[];
  assert.deepEqual([counting?.blacklist, counting?.rateLimit, counting?.maps], [undefined, undefined, []]);
  assert.match(
    accounting.issues[0]?.message ?? "",
    /blacklist: has no effect for type cgroup without spec.settings.containerPolicy.enableEgressControl/,
  );
  const [control] = readAll(
    pod("web", "web") + program(`type: cgroup\nsettings: {${blacklist}, containerPolicy: {enableEgressControl: true}}`),
  ).lower().intents as FilterIntent[];
  assert.deepEqual(control?.at.hook === "cgroup" ? control.at.directions : undefined, ["egress"]);
  assert.equal(control?.accounting, undefined);
  const nothing = readAll(
    pod("web", "web") + program("type: cgroup\nsettings: {containerPolicy: {enableEgressControl: true}}"),
  ).lower();
  assert.deepEqual(
    nothing.problems.map(({ severity, reason }) => [severity, reason]),
    [["note", "NothingEnabled"]],
  );
});

test("EBPFProgram of type cgroup lets pods use the devices that every container gets", () => {
  const [devices] = readAll(
    pod("web", "web") + program("type: cgroup\nsettings: {containerPolicy: {enableDeviceControl: true}}"),
  ).lower().intents as DevicesIntent[];
  assert.equal(devices?.feature, "devices");
  assert.deepEqual(
    devices?.allowed.map(({ text, type, major, minor }) => `${text} ${type} ${major}:${minor ?? "*"}`),
    [
      "/dev/null char 1:3",
      "/dev/zero char 1:5",
      "/dev/full char 1:7",
      "/dev/random char 1:8",
      "/dev/urandom char 1:9",
      "/dev/tty char 5:0",
      "/dev/console char 5:1",
      "/dev/ptmx char 5:2",
      "/dev/pts/* char 136:*",
    ],
  );
});

test("EBPFProgram of type cgroup waits for pods, and says when nothing is enabled", () => {
  const { intents, problems } = readAll(program("type: cgroup")).lower();
  assert.deepEqual(intents, []);
  assert.deepEqual(
    problems.map(({ severity, reason }) => [severity, reason]),
    [
      ["waiting", "NoPods"],
      ["note", "NothingEnabled"],
    ],
  );
});

test("EBPFProgram of type sockops counts connections, and refuses what is not served by name", () => {
  const [sockets] = readAll(pod("web", "web") + program("type: sockops\npriority: 3")).lower()
    .intents as SocketsIntent[];
  assert.deepEqual([sockets?.feature, sockets?.priority, sockets?.pods.length], ["sockets", 3, 1]);
  const more = readAll(
    pod("web", "web") + program("type: sockops\nsettings: {socketOps: {enableRedirection: true, enableTracing: true}}"),
  ).lower();
  assert.equal(more.intents.length, 1);
  assert.deepEqual(
    more.problems.map(({ severity, reason, message, origin }) => [severity, reason, message, origin.position?.line]),
    [
      ["refused", "NotServed", "spec.settings.socketOps.enableRedirection is not served yet; set it to false", 11],
      ["refused", "NotServed", "spec.settings.socketOps.enableTracing is not served yet; set it to false", 11],
    ],
  );
  assert.deepEqual(
    readAll(pod("web", "web") + program("type: sockops\nsettings: {socketOps: {enableMonitoring: false}}")).lower()
      .intents,
    [],
  );
});

test("EBPFProgram looks addresses up in maps that it names or that name it", () => {
  const map = (name: string, fields: string): string =>
    `---\napiVersion: networking.fos1.io/v1alpha1\nkind: EBPFMap\nmetadata: {name: ${name}}\nspec: {maxEntries: 8, ${fields}}\n---\n`;
  const lpm = (keySize: number, more = ""): string => `type: lpm_trie, keySize: ${keySize}, valueSize: 4${more}`;
  const maps =
    map("six", lpm(20, ", accessedBy: [p]")) +
    map("four", lpm(8)) +
    map("odd", lpm(12, ", accessedBy: [p]")) +
    map("hash", "type: hash, keySize: 4, valueSize: 4") +
    map("other", lpm(8, ", accessedBy: [q]"));
  const { intents, problems } = readAll(
    `${maps}${program("type: tc-ingress\ninterface: eth0\nmaps: [four, hash, gone]")}`,
  ).lower();
  const filter = intents.find((intent): intent is FilterIntent => intent.feature === "filter");
  assert.deepEqual(
    filter?.maps.map(({ mapKey, family }) => [mapKey, family]),
    [
      ["maps/default/four", 4],
      ["maps/default/six", 6],
    ],
  );
  const mine = problems.filter(({ origin }) => origin.object.kind === "EBPFProgram");
  assert.deepEqual(
    mine.map(({ severity, reason, message }) => [severity, reason, message]),
    [
      [
        "refused",
        "MapNotUsable",
        "EBPFMap default/hash cannot be looked up by address: it is of type hash, not lpm_trie",
      ],
      ["waiting", "MapNotFound", "EBPFMap default/gone does not exist; it is used as soon as it does"],
      [
        "note",
        "MapNotUsable",
        "EBPFMap default/odd names this program, but cannot be looked up by address: its keySize is 12; it must be 8 (IPv4) or 20 (IPv6)",
      ],
    ],
  );
  const theirs = problems.filter(({ origin }) => origin.object.kind === "EBPFMap");
  assert.deepEqual(
    theirs.map(({ origin, severity, reason }) => [origin.object.name, severity, reason]),
    [
      ["odd", "note", "NotUsed"],
      ["other", "note", "ProgramNotFound"],
    ],
  );
});
