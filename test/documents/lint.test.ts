import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Issue } from "@bpfleet/base";
import {
  apiVersionOf,
  findFootGuns,
  findKind,
  kinds,
  lintViewOf,
  nameAffected,
  parseManifest,
  type Parsed,
} from "@bpfleet/kinds";
import { reviewAdmission } from "@bpfleet/operator";
import { objectOf, readLintPage, type LintRow } from "./lint-rows.ts";

const { beside, rows } = readLintPage();
const refused = "refused: ";

function parse(
  text: string,
): readonly { readonly result: ReturnType<(typeof kinds)[number]["parse"]>; value: unknown }[] {
  const { objects, issues } = parseManifest(text, "p.yaml");
  assert.deepEqual(issues, []);
  return objects.map(({ apiVersion, kind, value, positionOf }) => ({
    result: (findKind(apiVersion, kind) ?? assert.fail(kind)).parse(value, positionOf),
    value,
  }));
}

const known = parse(beside).flatMap(({ result }): readonly Parsed[] => (result.ok ? [result.value] : []));

/** Neither says it in admission: the CRD of the kind, or its object, does. */
const ofCrd = new Set(["unknown-field", "deprecated-kind"]);

/** What lint says of an object. */
function lint({ kind, written }: LintRow): readonly string[] {
  const [{ result } = assert.fail(written)] = parse(objectOf(kind, written));
  const textsOf = (issues: readonly Issue[]): readonly string[] =>
    issues
      .filter(({ code }) => !ofCrd.has(code))
      .map(({ severity, message }) => `${severity === "error" ? refused : ""}${message}`);
  if (!result.ok) return textsOf(result.issues);
  const view = lintViewOf([...known, result.value]);
  return [...findFootGuns(result.value, view), ...textsOf(nameAffected(result.issues, result.value, view))];
}

/** What admission says of it. */
function admit({ kind, written }: LintRow): readonly string[] {
  const [{ value } = assert.fail(written)] = parse(objectOf(kind, written));
  const defined = kinds.find((each) => each.kind === kind) ?? assert.fail(kind);
  const { group, version } = defined;
  const namespace = defined.scope === "Cluster" ? {} : { namespace: "shop" };
  const request = {
    uid: "u",
    kind: { group, version, kind },
    name: "p",
    ...namespace,
    operation: "CREATE",
    object: value,
  };
  const review = { apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request };
  const answer = reviewAdmission(review, { kinds, view: lintViewOf(known), ownUsers: [] });
  assert.ok(typeof answer !== "string", String(answer));
  const { warnings = [], status } = answer.response;
  const said = warnings.map((text) => text.replace(/^\w+ (?:shop\/)?p: /, ""));
  return [...said, ...(status?.details.causes ?? []).map(({ message }) => `${refused}${message}`)];
}

test("docs/reference/lint.md says word by word what lint and admission say of each object", () => {
  assert.ok(rows.length > 60, `${rows.length} rows`);
  for (const row of rows) {
    const where = `docs/reference/lint.md:${row.line}`;
    const nothing = row.said.join() === "nothing";
    assert.deepEqual(lint(row), nothing ? [] : row.said, where);
    assert.deepEqual(admit(row).toSorted(), lint(row).toSorted(), where);
  }
});

test("docs/reference/lint.md is what ebpfctl lint prints, with file and line", (t) => {
  const directory = mkdtempSync(join(tmpdir(), "bpfleet-lint-"));
  t.after(() => rmSync(directory, { recursive: true, force: true }));
  const write = (file: string, some: readonly LintRow[]): void =>
    writeFileSync(
      join(directory, file),
      some.map(({ kind, written, line }) => objectOf(kind, written, `p-${line}`)).join("---\n"),
    );
  const run = (file: string): { readonly status: number | null; readonly stdout: string; readonly stderr: string } => {
    const main = join(import.meta.dirname, "../../apps/ebpfctl/src/main.ts");
    const env = { ...process.env, BPFLEET_STORE: join(directory, "objects"), BPFLEET_STATE: join(directory, "state") };
    const args = [main, "lint", "-f", "beside.yaml", "-f", file];
    return spawnSync(process.execPath, args, { cwd: directory, env, encoding: "utf8", timeout: 120_000 });
  };
  const isRefused = ({ said }: LintRow): boolean => said.some((text) => text.startsWith(refused));
  const [sound, wrong] = [rows.filter((row) => !isRefused(row)), rows.filter(isRefused)];
  writeFileSync(join(directory, "beside.yaml"), beside);
  write("sound.yaml", sound);
  write("wrong.yaml", wrong);
  const warned = run("sound.yaml");
  assert.equal(warned.status, 3, warned.stderr);
  const told = warned.stdout.split("\n");
  for (const [index, { line, said }] of sound.entries()) {
    const first = 5 * index + 1;
    for (const text of said.filter((each) => each !== "nothing"))
      assert.ok(
        told.some((each) => each.endsWith(text) && new RegExp(`^sound\\.yaml:(${first}|${first + 3})[: ]`).test(each)),
        `docs/reference/lint.md:${line}: ${text}`,
      );
  }
  const failed = run("wrong.yaml");
  assert.equal(failed.status, 1, failed.stderr);
  for (const { said } of wrong)
    for (const text of said) assert.ok(failed.stdout.includes(text.replace(refused, "")), `${text}\n${failed.stdout}`);
});

test("docs/reference/lint.md names kinds that there are", () => {
  for (const { kind } of rows)
    assert.ok(
      kinds.some((each) => each.kind === kind && apiVersionOf(each) !== ""),
      kind,
    );
});
