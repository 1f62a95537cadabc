import assert from "node:assert/strict";
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, test } from "node:test";
import { buildPrograms, whyNoBuild, type GoPrograms } from "./go-programs.ts";

const kept = { path: process.env["PATH"], cache: process.env["XDG_CACHE_HOME"] };
let dir = "";
let set: GoPrograms;

before(() => {
  dir = mkdtempSync(join(tmpdir(), "bpfleet-go-"));
  process.env["XDG_CACHE_HOME"] = join(dir, "cache");
});

beforeEach(() => {
  for (const each of ["bin", "module", "brought", "cache"]) rmSync(join(dir, each), { recursive: true, force: true });
  mkdirSync(join(dir, "bin"));
  mkdirSync(join(dir, "module"));
  for (const file of ["go.mod", "go.sum"]) writeFileSync(join(dir, "module", file), "");
  set = {
    name: "test",
    source: join(dir, "module"),
    programs: [{ name: "p", package: "example.com/p", stamp: false }],
  };
});

after(() => {
  rmSync(dir, { recursive: true });
  process.env["PATH"] = kept.path;
  if (kept.cache === undefined) delete process.env["XDG_CACHE_HOME"];
  else process.env["XDG_CACHE_HOME"] = kept.cache;
});

/** A Go that says its version, builds files that say by whom, and fetches one that does the same. */
function installGo(version: string): void {
  const building = (by: string): string =>
    `[ "$1" = build ] && { while [ "$1" != -o ]; do shift; done; echo "${by} GOROOT=\${GOROOT-}" > "$2"; exit; }`;
  const brought = join(dir, "brought");
  const go = `#!/bin/sh
case "$*" in
"env GOVERSION") echo ${version}; exit ;;
"mod download -json "*)
	echo "$4" > ${join(dir, "asked")}
	mkdir -p ${brought}/bin ${brought}/pkg/tool/x
	: > ${brought}/pkg/tool/x/compile
	cat > ${brought}/bin/go <<'END'
#!/bin/sh
${building("brought")}
END
	chmod 0644 ${brought}/bin/go
	echo '{"Dir": "${brought}"}'
	exit ;;
esac
${building("own")}
exit 1
`;
  writeFileSync(join(dir, "bin/go"), go);
  chmodSync(join(dir, "bin/go"), 0o755);
  process.env["PATH"] = `${join(dir, "bin")}:${kept.path}`;
}

function built(): string {
  return readFileSync(join(buildPrograms(set), "p"), "utf8").trim();
}

test("buildPrograms builds with the machine's Go where it is new enough", () => {
  for (const version of ["go1.26", "go1.26.3", "go2.0"]) {
    installGo(version);
    assert.equal(whyNoBuild(), undefined);
    rmSync(join(dir, "cache"), { recursive: true, force: true });
    assert.match(built(), /^own /);
  }
});

test("buildPrograms has an older Go fetch a release that is new enough, and builds with that", () => {
  for (const version of ["go1.19", "go1.19.8", "go1.25.9"]) {
    installGo(version);
    assert.equal(whyNoBuild(), undefined);
    rmSync(join(dir, "cache"), { recursive: true, force: true });
    assert.equal(built(), `brought GOROOT=${join(dir, "brought")}`);
    const asked = readFileSync(join(dir, "asked"), "utf8").trim();
    assert.match(asked, /^golang\.org\/toolchain@v0\.0\.1-go1\.\d+\.\d+\.linux-(?:amd64|arm64)$/);
  }
});

test("whyNoBuild says which Go there is that is too old even for that, or that there is none", () => {
  for (const version of ["go1.18.10", "go1.4"]) {
    installGo(version);
    assert.equal(whyNoBuild(), `go is ${version}; install any Go from 1.19 on`);
  }
  rmSync(join(dir, "bin/go"));
  process.env["PATH"] = join(dir, "bin");
  assert.equal(whyNoBuild(), "go is not installed; install any Go from 1.19 on");
});
