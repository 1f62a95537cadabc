import assert from "node:assert/strict";
import { test } from "node:test";
import { issueLines, readAll } from "../../testing/read-all.ts";
import { ebpfTrafficControl } from "./ebpftrafficcontrol.ts";

/** `error spec.x: …` of a spec in one line each. */
function issues(spec: string): string[] {
  const base = "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFTrafficControl\nmetadata: {name: t}\nspec:\n";
  return issueLines(`${base}  interface: eth0\n  direction: egress\n${spec.replaceAll(/^/gm, "  ")}\n`);
}

const htb = "queueingDiscipline: {type: htb, rate: 1Gbit}";

test("EBPFTrafficControl finds all that is wrong at once, each with its line", () => {
  const spec = `queueingDiscipline: {type: htp, rate: fast}
filters:
  - priority: 0
    protocol: tpc
    match: {srcIP: 10.0.0, dstPort: 70000, dscp: 64}
    action: {type: police}
classes:
  - {id: 1, rate: 0Mbit}
  - {id: 1}`;
  assert.deepEqual(issues(spec), [
    '7: error spec.queueingDiscipline.type: must be one of htb, tbf, sfq, fq_codel, hfsc, is "htp"; did you mean htb?',
    '7: error spec.queueingDiscipline.rate: must be a rate in bits each second, like 10Mbit, 1.5Gbit or 100000, is "fast"',
    "9: error spec.filters[0].priority: must be at least 1, is 0",
    '10: error spec.filters[0].protocol: must be one of ip, tcp, udp, icmp, all, is "tpc"; did you mean tcp?',
    '11: error spec.filters[0].match.srcIP: must be an IPv4 or IPv6 address or a CIDR, is "10.0.0": an IPv4 address has 4 numbers, this has 3',
    "11: error spec.filters[0].match.dstPort: must be at most 65535, is 70000",
    "11: error spec.filters[0].match.dscp: must be at most 63, is 64",
    "12: error spec.filters[0].action.police: is required for type police",
    "14: error spec.classes[0].rate: must be more than 0",
    "15: error spec.classes[1]: id 1 is already at position 0; keep one",
  ]);
});

test("EBPFTrafficControl refuses classes that nothing has, and classes where there are none", () => {
  assert.deepEqual(issues(`${htb}\nfilters: [{classID: 7}]\nclasses: [{id: 10}]`).slice(0, 1), [
    "8: error spec.filters: must have each classID be the id of one of the classes; [0] has 7, there are 10",
  ]);
  assert.deepEqual(issues("queueingDiscipline: {type: sfq}\nfilters: [{classID: 1}]\nclasses: [{id: 1}]"), [
    "9: error spec.classes: needs queueingDiscipline.type htb or hfsc: the others have no classes",
  ]);
  assert.deepEqual(issues("queueingDiscipline: {type: tbf}"), [
    "7: error spec.queueingDiscipline.rate: is required for type tbf",
  ]);
  assert.deepEqual(issues("filters: [{protocol: icmp, match: {dstPort: 1}, action: {type: drop}}]"), [
    "7: error spec.filters: must have no ports in a match of protocol icmp: it has none",
  ]);
});

test("EBPFTrafficControl reads no rate that is an object", () => {
  const rate: unknown = Object.create(null);
  const spec = {
    interface: "eth0",
    direction: "egress",
    queueingDiscipline: { type: "htb", rate },
    classes: [{ id: 1 }],
  };
  const metadata = { name: "t" };
  const found = ebpfTrafficControl.parse({
    apiVersion: "networking.fos1.io/v1alpha1",
    kind: "EBPFTrafficControl",
    metadata,
    spec,
  });
  assert.deepEqual(
    found.issues.filter(({ severity }) => severity === "error").map(({ path }) => path),
    ["/spec/queueingDiscipline/rate"],
  );
});

test("EBPFTrafficControl takes ports as numbers, texts and ranges, and no others", () => {
  const port = (text: string): string[] =>
    issues(`filters: [{protocol: tcp, match: {dstPort: ${text}}, action: {type: pass}}]`);
  for (const text of ["1", "65535", '"443"', "5060-5080", '"1-65535"']) assert.deepEqual(port(text), [], text);
  for (const text of ['"0"', '"65536"', "http", '"5-"', "1.5", "-1", '"1-2-3"'])
    assert.equal(port(text).length, 1, text);
  assert.deepEqual(port("80-79"), ["7: error spec.filters[0].match.dstPort: must not run backwards, is 80-79"]);
});

test("EBPFTrafficControl warns of what is read otherwise than it is meant, or does nothing", () => {
  const warnings = (spec: string): string[] => {
    const lines = issues(spec);
    assert.ok(
      lines.every((line) => line.includes(": warning ")),
      lines.join("\n"),
    );
    return lines.map((line) => line.replace(/^\d+: warning spec\.?/, ""));
  };
  assert.deepEqual(warnings(`${htb}\nfilters: [{classID: 1}]\nclasses: [{id: 1, rate: 100Mbps}]`), [
    "classes[0].rate: 100Mbps is read as bits each second; tc would read bytes; write 100Mbit",
  ]);
  const much = "classes: [{id: 1, rate: 2Gbit}, {id: 2, rate: 1Mbit}]";
  assert.deepEqual(warnings(`${htb}\nfilters: [{classID: 1}]\n${much}`), [
    "classes: are sure of more than spec.queueingDiscipline.rate, 1Gbit, together",
    "classes[0].rate: is more than spec.queueingDiscipline.rate, 1Gbit",
    "classes[1].id: no filter has classID 2, so nothing waits in this class",
  ]);
  assert.match(warnings("queueingDiscipline: {type: sfq, rate: 1Mbit}")[0] ?? "", /which limits nothing/);
  assert.match(warnings("queueingDiscipline: {type: htb, latency: 5ms}")[0] ?? "", /has no effect for type htb/);
  assert.match(
    warnings("filters: [{protocol: tcp, action: {type: mark, mark: 64}}]")[0] ?? "",
    /64 is no DSCP, which goes up to 63/,
  );
  assert.match(warnings("filters: [{match: {dstPort: 53}, action: {type: pass}}]")[0] ?? "", /means TCP and UDP/);
  assert.match(warnings("filters: [{protocol: tcp}]")[0] ?? "", /has neither action nor classID/);
  assert.match(warnings("filters: [{action: {type: drop, mark: 1}}]")[0] ?? "", /mark: has no effect for type drop/);
  assert.match(
    warnings("filters: [{match: {srcIP: 10.0.0.1/8}, action: {type: drop}}]")[0] ?? "",
    /read as 10\.0\.0\.0\/8/,
  );
  assert.match(warnings("description: x")[0] ?? "", /so nothing is done/);
});

test("EBPFTrafficControl says that it is not served yet, and where it is written", () => {
  const text =
    "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFTrafficControl\nmetadata: {name: t}\nspec: {interface: e, direction: egress}\n";
  const { intents, problems } = readAll(text).lower();
  assert.deepEqual(intents, []);
  assert.deepEqual(
    problems.map(({ severity, reason, message, origin }) => [severity, reason, message, origin.position?.line]),
    [["refused", "NotServed", "EBPFTrafficControl is not served yet; packets are neither shaped nor marked by it", 4]],
  );
});
