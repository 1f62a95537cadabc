/**
 * Builds the images of daemon, agent and operator into build/images/bpfleet.tar, without a container engine; with
 * `push`, puts them into their registries too. Their names: BPFD_IMG, BPFD_AGENT_IMG, BPFD_OPERATOR_IMG.
 */
import { mkdirSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { buildAppImages, nameImages } from "./images/app-images.ts";
import { renderArchive } from "./images/image.ts";
import { pushImages } from "./images/push.ts";

const archive = join(import.meta.dirname, "../build/images/bpfleet.tar");

async function main(words: readonly string[]): Promise<void> {
  const named = nameImages(await buildAppImages(), process.env);
  mkdirSync(dirname(archive), { recursive: true });
  writeFileSync(`${archive}.half`, renderArchive(named));
  renameSync(`${archive}.half`, archive);
  for (const [name, image] of named) {
    const bytes = image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
    console.log(`${name}\t${image.digest}\t${(bytes / 1e6).toFixed(1)} MB`);
  }
  if (!words.includes("push")) return;
  for (const name of await pushImages([...named], process.env)) console.log(`pushed ${name}`);
}

await main(process.argv.slice(2)).catch((error: unknown) => {
  console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
});
