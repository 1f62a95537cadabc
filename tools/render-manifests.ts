/**
 * Prints what is applied to a cluster: `node tools/render-manifests.ts [all|crds|rest|removable]`, the same objects
 * as `kubectl kustomize manifests/base/ebpf` with the images of BPFD_IMG, BPFD_AGENT_IMG and BPFD_OPERATOR_IMG.
 * Removable is the rest without the namespace, in which are the users' secrets.
 */
import { kinds, renderYaml } from "@bpfleet/kinds";
import { baseManifests, ownGroups } from "@bpfleet/operator/desired";
import { chosenNames } from "./images/names.ts";

const [what = "all"] = process.argv.slice(2);
const names = namesOrExit();
const images = {
  operatorImage: names.get("operator") ?? "",
  daemonImage: names.get("daemon") ?? "",
  agentImage: names.get("agent") ?? "",
};
const crds = kinds
  .filter(({ group }) => ownGroups.includes(group))
  .map((kind) => kind.crd())
  .filter((crd) => crd !== undefined);
const rest = Object.values(baseManifests(kinds, images)).flat();
const sets: Readonly<Record<string, readonly unknown[]>> = {
  all: [...crds, ...rest],
  crds,
  rest,
  removable: rest.filter(({ kind }) => kind !== "Namespace"),
};

const chosen = sets[what];
if (chosen === undefined) {
  console.error(`error: render manifests: ${what} is none of ${Object.keys(sets).join(", ")}`);
  process.exitCode = 1;
} else process.stdout.write(chosen.map((object) => renderYaml(object)).join("---\n"));

function namesOrExit(): ReturnType<typeof chosenNames> {
  try {
    return chosenNames(process.env);
  } catch (error) {
    console.error(`error: ${error instanceof Error ? error.message : String(error)}`);
    process.exit(1);
  }
}
