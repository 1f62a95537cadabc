import type { ObjectRef } from "@bpfleet/base";
import type { Inventory, NodePlan } from "@bpfleet/kernel";
import type { NodeFindings } from "@bpfleet/kinds";

/** Everything of BPF in the kernel, with the objects that it is there for. */
export function inventoryFindings(
  { programs, maps, links }: Inventory,
  plan: NodePlan,
): Pick<NodeFindings, "programs" | "maps" | "links"> {
  const owners = new Map<string, ObjectRef>();
  for (const { key, owner } of [...plan.maps, ...plan.programs]) if (owner !== undefined) owners.set(key, owner);
  const places = new Map<string, { readonly hook: string; readonly position: number }>();
  for (const { key, members } of plan.hooks)
    for (const [position, { program }] of members.entries()) places.set(program, { hook: key, position });
  const images = new Map(plan.programs.map(({ key, object }) => [key, object]));
  const ownerOf = (ours: string | undefined) => {
    const owner = ours === undefined ? undefined : owners.get(keyOf(ours));
    return owner === undefined ? {} : { owner };
  };
  return {
    programs: programs.map(
      ({ ours, id, type, name, tag, loadedAt, runCount, runTimeNs, verifiedInsns, jitedBytes }) => {
        const key = ours === undefined ? undefined : keyOf(ours);
        const image = key === undefined ? undefined : images.get(key);
        return {
          id,
          type,
          name,
          isOurs: ours !== undefined,
          ...ownerOf(ours),
          ...(tag !== "" && { tag }),
          ...(image?.name.startsWith("bytecode/") === true && { image: image.digest }),
          ...(key === undefined ? {} : places.get(key)),
          ...(runCount > 0n && { runCount: Number(runCount), runTimeNs: Number(runTimeNs) }),
          ...(verifiedInsns > 0 && { instructions: verifiedInsns }),
          jitedBytes,
          ...(isTime(loadedAt) && { loadedAt }),
        };
      },
    ),
    maps: maps.map(({ ours, id, type, name, definition: { keySize, valueSize, maxEntries } }) => ({
      id,
      type,
      name,
      isOurs: ours !== undefined,
      ...ownerOf(ours),
      keySize,
      valueSize,
      maxEntries,
    })),
    links: links.map(({ ours, id, type, programId, target }) => ({
      id,
      type,
      programId,
      target: target.slice(0, 512),
      isOurs: ours !== undefined,
      ...ownerOf(ours),
    })),
  };
}

/** What is ours is named by its key, and with its generation where it has several. */
function keyOf(ours: string): string {
  const at = ours.lastIndexOf("@");
  return at < 0 ? ours : ours.slice(0, at);
}

function isTime(text: string): boolean {
  return /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d/.test(text);
}
