import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";

interface Part {
  readonly digest: string;
  readonly size: number;
}

interface ImageIndex {
  readonly manifests: readonly (Part & { readonly annotations: Readonly<Record<string, string>> })[];
}

interface ImageManifest {
  readonly config: Part;
  readonly layers: readonly Part[];
}

/** The images of an OCI archive, name → digest, as tar reads it; everything is there and has the digest that it is named by. */
export function readArchive(path: string): ReadonlyMap<string, string> {
  const read = (entry: string): Buffer => execFileSync("tar", ["-xOf", path, entry], { maxBuffer: 1 << 28 });
  const known = new Map<string, Buffer>();
  const blob = ({ digest, size }: Part): Buffer => {
    const [algorithm = "", hex = ""] = digest.split(":");
    const bytes = known.get(digest) ?? read(`blobs/${algorithm}/${hex}`);
    assert.deepEqual([bytes.length, createHash(algorithm).update(bytes).digest("hex")], [size, hex]);
    known.set(digest, bytes);
    return bytes;
  };
  assert.deepEqual(JSON.parse(read("oci-layout").toString()), { imageLayoutVersion: "1.0.0" });
  const { manifests } = JSON.parse(read("index.json").toString()) as ImageIndex;
  return new Map(
    manifests.map((each) => {
      const { config, layers } = JSON.parse(blob(each).toString()) as ImageManifest;
      for (const part of [config, ...layers]) blob(part);
      return [each.annotations["io.containerd.image.name"] ?? "", each.digest];
    }),
  );
}
