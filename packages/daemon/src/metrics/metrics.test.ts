import assert from "node:assert/strict";
import { request } from "node:http";
import { connect } from "node:net";
import { text } from "node:stream/consumers";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import { features, type InstanceCounters } from "@bpfleet/features";
import type { DaemonResults } from "../daemon.ts";
import { metricFamilies, type Readings } from "./daemon-metrics.ts";
import { renderExposition, type MetricFamily } from "./exposition.ts";
import { Histogram } from "./histogram.ts";
import { MetricsServer } from "./metrics-server.ts";

async function render(families: Iterable<MetricFamily>, seriesCap = 1000, chunkLines?: number): Promise<string> {
  let text = "";
  for await (const chunk of renderExposition(families, { seriesCap, chunkLines })) text += chunk;
  return text;
}

interface Parsed {
  readonly types: ReadonlyMap<string, string>;
  readonly series: ReadonlyMap<string, { readonly labels: Record<string, string>; readonly value: string }[]>;
}

/** A reader of the text format, strict about what a scraper would refuse. */
function parse(text: string): Parsed {
  assert.ok(text.endsWith("\n"));
  const types = new Map<string, string>();
  const series = new Map<string, { labels: Record<string, string>; value: string }[]>();
  const seen = new Set<string>();
  for (const line of text.slice(0, -1).split("\n")) {
    const header = /^# (HELP|TYPE) ([a-zA-Z_:][a-zA-Z0-9_:]*) (.*)$/s.exec(line);
    if (header !== null) {
      if (header[1] === "TYPE") {
        assert.ok(!types.has(header[2]!), `${header[2]} twice`);
        types.set(header[2]!, header[3]!);
      }
      continue;
    }
    const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/s.exec(line);
    assert.ok(found, `no line of the format: ${line}`);
    const [, name = "", labelText = "", value = ""] = found;
    assert.ok(types.has(name.replace(/_(bucket|sum|count)$/, "")) || types.has(name), `${name} has no TYPE`);
    const labels: Record<string, string> = {};
    const rest = labelText.replaceAll(
      /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\["\\n])*)",?/g,
      (_, label: string, escaped: string) => {
        labels[label] = escaped.replaceAll(/\\(.)/gs, (__, character: string) =>
          character === "n" ? "\n" : character,
        );
        return "";
      },
    );
    assert.equal(rest, "", `labels of ${line}`);
    const key = `${name}${JSON.stringify(labels, Object.keys(labels).toSorted())}`;
    assert.ok(!seen.has(key), `series twice: ${line}`);
    seen.add(key);
    series.set(name, [...(series.get(name) ?? []), { labels, value }]);
  }
  return { types, series };
}

test("renderExposition gives back every label value, whatever is in it", async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.string({ unit: "grapheme" })), async (values) => {
      const samples = values.map((what, value) => ({ labels: { what }, value }));
      const { series } = parse(await render([{ name: "x", type: "gauge", help: "h\\\nh", samples }], 1000, 3));
      assert.deepEqual(series.get("x")?.map((each) => each.labels["what"]) ?? [], values);
    }),
  );
});

test("renderExposition caps the series of a metric and says how many it left out", async () => {
  const samples = Array.from({ length: 10 }, (_, index) => ({
    labels: { i: `${index}` },
    value: BigInt(index) * 2n ** 60n,
  }));
  const { series } = parse(await render([{ name: "x_total", type: "counter", help: "h", samples }], 4));
  assert.deepEqual(
    series.get("x_total")?.map((each) => each.value),
    samples.slice(0, 4).map(({ value }) => `${value}`),
  );
  assert.deepEqual(series.get("bpfleet_metrics_series_left_out"), [{ labels: { metric: "x_total" }, value: "6" }]);
});

test("renderExposition lets the event loop do other work between its pieces", async () => {
  const samples = Array.from({ length: 5000 }, (_, index) => ({ labels: { i: `${index}` }, value: index }));
  let turns = 0;
  let isRendering = true;
  const turn = (): void => {
    turns++;
    if (isRendering) setImmediate(turn);
  };
  setImmediate(turn);
  await render([{ name: "x", type: "gauge", help: "h", samples }], 10_000, 10);
  isRendering = false;
  assert.ok(turns > 100, `${turns} turns`);
});

test("Histogram counts each observation in every bucket that it fits in", () => {
  const histogram = new Histogram([1, 10]);
  for (const value of [0.5, 1, 5, 50]) histogram.observe(value);
  assert.deepEqual(
    [...histogram.samples()].map(({ suffix, labels, value }) => `${suffix} ${labels["le"] ?? ""} ${value}`),
    ["_bucket 1 2", "_bucket 10 3", "_bucket +Inf 4", "_sum  56.5", "_count  4"],
  );
});

const owner = { group: "networking.fos1.io", kind: "EBPFProgram", namespace: "default", name: "xdp-packet-filter" };
const counters: InstanceCounters[] = [
  {
    owner,
    reasons: { allowed: { packets: 7n, bytes: 700n }, blacklist: { packets: 2n ** 63n, bytes: 3n } },
    rules: [
      {
        rule: {
          index: 1,
          id: "1",
          text: "10.10.10.0/24",
          origin: { object: owner, path: "/spec/settings/blacklist/ips/1" },
        },
        counter: { packets: 5n, bytes: 500n },
      },
    ],
    gauges: { blacklist_entries: 3, ratelimit_entries: 2, flow_count: 4, something_else: 9n },
  },
  {
    owner,
    reasons: { allowed: { packets: 1n, bytes: 1n } },
    rules: [],
    gauges: { blacklist_entries: 1, flow_count: 1 },
  },
  { owner: { ...owner, kind: "EBPFMap", name: "blacklist-map" }, reasons: {}, rules: [], gauges: { map_entries: 6 } },
];
const results: DaemonResults = {
  revision: 1,
  isComplete: true,
  isSettled: true,
  isPaused: false,
  healed: [],
  applyMs: 3,
  trouble: undefined,
  items: [
    { item: "map", key: "m", state: "in-force" },
    { item: "map", key: "n", state: "in-force" },
    { item: "hook", key: "h", state: "failed" },
  ],
};
function readings(): Readings {
  const applySeconds = new Histogram([0.01]);
  applySeconds.observe(0.003);
  const verdicts = { XDP_PASS: 3n };
  return {
    version: { version: "0.1.0", kernel: "6.18", node: "v24", libbpf: "1.7" },
    nodeName: "n",
    results,
    counters,
    applySeconds,
    lostEvents: { verdicts: 3n, flows: 4n },
    healedTotal: 2,
    features,
    hooks: [
      { hook: "xdp/eth0", members: [{ program: "p", counts: { seen: 3n, proceeded: 0n, exits: 3n, verdicts } }] },
    ],
    firewalls: [],
    residentBytes: 1,
    startedSeconds: 2,
  };
}

test("metricFamilies has the exact names and labels of FOS1", async () => {
  const { series, types } = parse(await render(metricFamilies(readings())));
  assert.deepEqual(series.get("ebpf_xdp_blacklist_entries"), [{ labels: {}, value: "4" }]);
  assert.deepEqual(series.get("ebpf_xdp_ratelimit_entries"), [{ labels: {}, value: "2" }]);
  assert.deepEqual(series.get("ebpf_flow_count"), [
    { labels: { program: "xdp-packet-filter", namespace: "default" }, value: "5" },
  ]);
  assert.deepEqual(series.get("ebpf_map_entries"), [
    { labels: { map_name: "blacklist-map", namespace: "default" }, value: "6" },
  ]);
  assert.equal(types.get("ebpf_flow_count"), "gauge");
});

test("metricFamilies has the exact names and labels of PodConfigMapConfig, each pod once", async () => {
  const gauges = { l4_allowed: 100n, l4_blocked: 5n, l4_tcp_packets: 90n, l4_udp_packets: 15n };
  const firewall = (name: string, pod: string): InstanceCounters => ({
    owner: { group: "podconfig.example.com", kind: "PodConfigMapConfig", namespace: "default", name },
    labels: { pod, pod_namespace: "default" },
    reasons: {},
    rules: [],
    gauges,
  });
  const counters = [firewall("a", "app-pod"), firewall("b", "app-pod"), firewall("b", "other")];
  const errors = { attach_failed: 1n, load_failed: 0n, map_failed: 0n };
  const firewalls = [
    { labels: { namespace: "default", pod_name: "app-pod" }, isAttached: true, errors },
    { labels: { namespace: "default", pod_name: "other" }, isAttached: false, errors },
  ];
  const { series, types } = parse(await render(metricFamilies({ ...readings(), counters, firewalls })));
  const ofPod = (name: string, pod: string) =>
    series.get(`podconfigmap_controller_ebpf_${name}`)?.filter(({ labels }) => labels["pod_name"] === pod);
  const labels = { namespace: "default", pod_name: "app-pod" };
  assert.deepEqual(ofPod("l4_firewall_total", "app-pod"), [
    { labels: { ...labels, stat_type: "allowed" }, value: "100" },
    { labels: { ...labels, stat_type: "blocked" }, value: "5" },
    { labels: { ...labels, stat_type: "tcp_packets" }, value: "90" },
    { labels: { ...labels, stat_type: "udp_packets" }, value: "15" },
  ]);
  assert.equal(ofPod("l4_firewall_total", "other")?.length, 4);
  assert.deepEqual(ofPod("attached_programs", "app-pod"), [
    { labels: { ...labels, program_type: "l4_firewall" }, value: "1" },
  ]);
  assert.equal(ofPod("attached_programs", "other")?.[0]?.value, "0");
  const program = { ...labels, program_type: "l4_firewall" };
  assert.deepEqual(ofPod("program_errors_total", "app-pod"), [
    { labels: { ...program, error_type: "attach_failed" }, value: "1" },
    { labels: { ...program, error_type: "load_failed" }, value: "0" },
    { labels: { ...program, error_type: "map_failed" }, value: "0" },
  ]);
  assert.equal(types.get("podconfigmap_controller_ebpf_program_errors_total"), "counter");
  assert.equal(types.get("podconfigmap_controller_ebpf_l4_firewall_total"), "counter");
  assert.equal(series.get("bpfleet_object_state"), undefined);
});

test("metricFamilies counts per reason with its verdict, per rule with its field, and the daemon itself", async () => {
  const { series } = parse(await render(metricFamilies(readings())));
  const of = (name: string) => (series.get(name) ?? []).map(({ labels, value }) => ({ ...labels, value }));
  const object = { kind: "EBPFProgram", namespace: "default", name: "xdp-packet-filter" };
  assert.deepEqual(of("bpfleet_packets_total"), [
    { ...object, reason: "allowed", verdict: "pass", value: "8" },
    { ...object, reason: "blacklist", verdict: "drop", value: "9223372036854775808" },
  ]);
  assert.deepEqual(of("bpfleet_rule_packets_total"), [
    { ...object, rule: "10.10.10.0/24", path: "/spec/settings/blacklist/ips/1", value: "5" },
  ]);
  assert.deepEqual(of("bpfleet_program_verdicts_total"), [
    { hook: "xdp/eth0", program: "p", verdict: "XDP_PASS", value: "3" },
  ]);
  assert.deepEqual(of("bpfleet_plan_items"), [
    { item: "map", state: "in-force", value: "2" },
    { item: "hook", state: "failed", value: "1" },
  ]);
  assert.deepEqual(of("bpfleet_object_state"), [{ ...object, what: "something_else", value: "9" }]);
  assert.deepEqual(of("bpfleet_healed_total"), [{ value: "2" }]);
  assert.deepEqual(of("bpfleet_events_lost_total"), [
    { what: "verdict", value: "3" },
    { what: "flow", value: "4" },
  ]);
  assert.deepEqual(of("bpfleet_apply_seconds_count"), [{ value: "1" }]);
});

test("MetricsServer serves /metrics on a unix socket, and cuts an answer that it cannot finish", async (t) => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-metrics-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const unix = join(directory, "metrics.sock");
  let fails = false;
  const server = await MetricsServer.listen({ unix }, async function* () {
    yield "up 1\n";
    if (fails) throw new Error("no more");
  });
  t.after(() => server[Symbol.asyncDispose]());
  const get = (path: string, method = "GET") =>
    new Promise<string>((resolve, reject) => {
      const call = request({ socketPath: unix, path, method }, (response) => {
        let body = "";
        response
          .setEncoding("utf8")
          .on("data", (text: string) => (body += text))
          .on("end", () => resolve(`${response.statusCode} ${body}`))
          .on("error", reject);
      });
      call.on("error", reject).end();
    });
  assert.equal(await get("/metrics"), "200 up 1\n");
  assert.equal(await get("/metrics?x=1", "HEAD"), "200 ");
  assert.equal(await get("/other"), "404 metrics are at /metrics\n");
  assert.equal(await get("/metrics", "POST"), "405 ");
  fails = true;
  await assert.rejects(get("/metrics"));
});

test("MetricsServer answers whatever target is asked for", async (t) => {
  const server = await MetricsServer.listen({ port: 0 }, async function* () {
    yield "up 1\n";
  });
  t.after(() => server[Symbol.asyncDispose]());
  for (const target of ["//", "http://[", "*", "/metrics"]) {
    const socket = connect(server.port!, "127.0.0.1");
    socket.end(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`);
    assert.match(await text(socket), target === "/metrics" ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 404 /, target);
  }
});

test("metricFamilies has no metric that docs/reference/metrics.md does not tell, and that tells no other", () => {
  const page = readFileSync(join(import.meta.dirname, "../../../../docs/reference/metrics.md"), "utf8");
  const told = [...page.matchAll(/^\| (`.*?) \|/gm)].flatMap(([, cell = ""]) =>
    [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name),
  );
  const names = metricFamilies(readings()).map(({ name }) => name);
  assert.deepEqual(new Set(told), new Set(names));
});
