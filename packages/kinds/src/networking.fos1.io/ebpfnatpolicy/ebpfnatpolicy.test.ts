import assert from "node:assert/strict";
import { test } from "node:test";
import { issueLines } from "../../testing/read-all.ts";

function issues(spec: string): string[] {
  const base = "apiVersion: networking.fos1.io/v1alpha1\nkind: EBPFNATPolicy\nmetadata: {name: t}\nspec:\n";
  return issueLines(`${base}${spec.replaceAll(/^/gm, "  ")}\n`).map((line) => line.replace("spec.", ""));
}

const web = "{externalPort: 80, internalIP: 10.0.0.10, internalPort: 8080}";

test("EBPFNATPolicy finds all that is wrong at once, each with its line", () => {
  assert.deepEqual(issues(`type: dnat\nexternalIP: 10.0.0.0/8\nportMappings:\n  - {externalPort: 0, internalIP: x}`), [
    "4: error interface: is required",
    '6: error externalIP: must be an IPv4 or IPv6 address, is "10.0.0.0/8"',
    "8: error portMappings[0].internalPort: is required",
    "8: error portMappings[0].externalPort: must be at least 1, is 0",
    '8: error portMappings[0].internalIP: must be an IPv4 or IPv6 address, is "x"',
  ]);
  assert.deepEqual(issues("type: nat64\ninterface: eth0"), [
    '5: error type: must be one of snat, dnat, masquerade, full, is "nat64"',
  ]);
});

test("EBPFNATPolicy needs what its type works with", () => {
  assert.deepEqual(issues("type: dnat\ninterface: eth0"), [
    "4: error externalIP: is required for types snat, dnat and full",
    "4: error portMappings: is required for types dnat and full",
  ]);
  assert.deepEqual(issues("type: snat\ninterface: eth0\nsourceAddresses: [10.0.0.0/8]"), [
    "4: error externalIP: is required for types snat, dnat and full",
  ]);
  assert.deepEqual(issues(`type: masquerade\ninterface: eth0\nsourceAddresses: [10.0.0.0/8]\nportMappings: [${web}]`), [
    "8: error portMappings: needs type dnat or full",
  ]);
});

test("EBPFNATPolicy refuses a port twice, but not of two protocols", () => {
  const dnat = "type: dnat\ninterface: eth0\nexternalIP: 203.0.113.10";
  const udp = "{protocol: udp, externalPort: 80, internalIP: 10.0.0.11, internalPort: 1}";
  assert.deepEqual(issues(`${dnat}\nportMappings: [${web}, ${udp}]`), []);
  assert.deepEqual(issues(`${dnat}\nportMappings: [${web}, ${web}]`), [
    '8: error portMappings[1]: protocol "tcp", externalPort 80 is already at position 0; keep one',
  ]);
});

test("EBPFNATPolicy does not mix families", () => {
  const families = "must lead to addresses of the family of externalIP: IPv4 is not translated to IPv6, nor back";
  assert.deepEqual(issues(`type: dnat\ninterface: eth0\nexternalIP: "2001:db8::1"\nportMappings: [${web}]`), [
    `8: error portMappings: ${families}`,
  ]);
  assert.deepEqual(issues("type: snat\ninterface: eth0\nexternalIP: 203.0.113.10\nsourceAddresses: [fd00::/8]"), [
    "8: error sourceAddresses: must be of the family of externalIP: IPv4 is not translated to IPv6, nor back",
  ]);
});

test("EBPFNATPolicy warns of what is probably not meant", () => {
  const only = (spec: string): string => {
    const [line = "", ...more] = issues(`interface: eth0\n${spec}`);
    assert.deepEqual(more, []);
    assert.match(line, /warning/);
    return line;
  };
  assert.match(only("type: masquerade"), /every packet that leaves is translated, the node's own too/);
  assert.match(only("type: masquerade\nsourceAddresses: [10.1.2.3/8]"), /read as 10\.0\.0\.0\/8/);
  assert.match(only("type: masquerade\nsourceAddresses: [10.0.0.0/8]\nexternalIP: 1.2.3.4"), /use snat/);
  assert.match(only("type: masquerade\nsourceAddresses: [10.0.0.0/8]\nenableTracking: false"), /not translated back/);
  const dnat = "type: dnat\nexternalIP: 203.0.113.10\nportMappings:";
  assert.match(only(`${dnat} [${web.replace("80,", "22,")}]`), /port of SSH/);
  assert.match(only(`${dnat} [${web.replace("10.0.0.10", "127.0.0.1")}]`), /is this node itself/);
  assert.match(only(`sourceAddresses: [10.0.0.0/8]\n${dnat} [${web}]`), /no effect for type dnat/);
});
