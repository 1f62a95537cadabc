import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { root } from "./fleet.ts";

const nobody = "65534";

/**
 * Arguments: the checkout, an empty folder, the user. The checkout is seen as a layer below another one, in a mount namespace
 * that ends with the script: there its files have other times, and what is built anew stays there.
 */
const script = `
mount -t tmpfs -o mode=755 tmpfs "$2"
cd "$2"
mkdir upper work elsewhere home tmp
mount -t overlay -o "lowerdir=$1,upperdir=$PWD/upper,workdir=$PWD/work" overlay elsewhere
cd elsewhere
find LICENSE LICENSES package.json apps packages tools build/native build/cni -type f -exec touch -d 2001-02-03 {} +
rm -rf build/images build/bpf
mkdir build/images build/bpf
chown "$3:$3" build/images build/bpf ../home ../tmp
umask 077
exec setpriv --reuid="$3" --regid="$3" --clear-groups env -i PATH="$PWD/node_modules/.bin:$PATH" HOME="$PWD/../home" \\
	TMPDIR="$PWD/../tmp" TZ=Pacific/Chatham LC_ALL=C.UTF-8 sh -ec 'node tools/build-bpf.ts; node tools/build-images.ts'
`;

/** What `make build-images` says with these sources at another path, by another user with another home, file mode, time zone and language, of files of another time. */
export function buildImagesElsewhere(): string {
  const folder = mkdtempSync(join(tmpdir(), "bpfleet-elsewhere-"));
  const command = ["--mount", "--propagation", "private", "sh", "-ec", script, "sh", root, folder, nobody];
  try {
    return execFileSync("unshare", command, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
