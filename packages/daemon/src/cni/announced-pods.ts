import type { EndpointWish } from "@bpfleet/kernel";
import type { Announcement } from "./announcement.ts";

type Attachment = Pick<Announcement, "container" | "ifname">;

/** More than any node has pods: beyond, it is those whose end was lost. */
const most = 4096;

/** Pods whose interfaces were announced, and not taken away since. */
export class AnnouncedPods {
  readonly #byAttachment = new Map<string, Announcement>();

  add(announced: Announcement): void {
    const key = keyOf(announced);
    // The newest one counts.
    this.#byAttachment.delete(key);
    this.#byAttachment.set(key, announced);
    for (const oldest of this.#byAttachment.keys()) {
      if (this.#byAttachment.size <= most) break;
      this.#byAttachment.delete(oldest);
    }
  }

  /** What was known of it. */
  remove(attachment: Attachment): Announcement | undefined {
    const known = this.#byAttachment.get(keyOf(attachment));
    this.#byAttachment.delete(keyOf(attachment));
    return known;
  }

  keepOnly(valid: readonly Attachment[]): void {
    const kept = new Set(valid.map(keyOf));
    for (const key of this.#byAttachment.keys()) if (!kept.has(key)) this.#byAttachment.delete(key);
  }

  find(wish: EndpointWish): Announcement | undefined {
    let newest: Announcement | undefined;
    for (const announced of this.#byAttachment.values()) if (isOf(wish, announced)) newest = announced;
    return newest;
  }
}

/** A pod that is made anew under its name is another one. */
export function isOf({ pod }: EndpointWish, { pod: { namespace, name, uid } }: Announcement): boolean {
  if (pod === undefined) return false;
  if (uid !== "" && pod.uids.length > 0) return pod.uids.includes(uid);
  return pod.namespace === namespace && pod.name === name;
}

function keyOf({ container, ifname }: Attachment): string {
  return `${container}/${ifname}`;
}
