import { MessageWriter } from "./fields.ts";
import type { Layout } from "./layout.ts";
import {
  directions,
  programTypes,
  pullPolicies,
  proceedNumber,
  type AttachWish,
  type LoadSource,
} from "./load-wish.ts";

/** A loaded program, as a List tells it. */
export interface ListedProgram {
  readonly id: string;
  /** The section that was asked for. */
  readonly name: string;
  readonly source: LoadSource;
  readonly attach: AttachWish;
}

export function encodeListResponse(programs: readonly ListedProgram[], layout: Layout): Uint8Array {
  const response = new MessageWriter();
  for (const program of programs) response.message(layout === "p4" ? 10 : 2, encodeResult(program, layout));
  return response.finish();
}

function encodeResult({ id, name, source, attach }: ListedProgram, layout: Layout): MessageWriter {
  const result = new MessageWriter().text(1, id).text(2, name);
  const type = programTypes.indexOf(attach.type);
  if (layout === "p1" || layout === "p2" || layout === "p2b") {
    const isPath = layout === "p1";
    const location =
      "file" in source ? (isPath ? "" : "file://") + source.file : (isPath ? "" : "image://") + source.image;
    return putAttach(result.text(3, location).int32(4, type), attach, layout);
  }
  if ("file" in source) result.text(4, source.file);
  else {
    // Passwords are never told.
    const image = new MessageWriter().text(1, source.image).int32(2, pullPolicies.indexOf(source.pullPolicy));
    result.message(3, image);
  }
  return putAttach(result.int32(5, type), attach, layout);
}

function putAttach(result: MessageWriter, attach: AttachWish, layout: Layout): MessageWriter {
  if (attach.type === "TRACEPOINT")
    return result.message(layout === "p4" ? 9 : 7, new MessageWriter().text(1, attach.name));
  const network = new MessageWriter().int32(1, attach.priority).text(2, attach.interface);
  const codes = attach.proceedOn.flatMap((name) => proceedNumber(name) ?? []);
  if (layout !== "p4") {
    if (layout === "p1") return result.message(6, network.int32s(4, codes));
    return result.message(6, network.int32(4, directions.indexOf(attach.direction)).int32s(5, codes));
  }
  if (attach.type === "XDP") return result.message(7, network.int32s(4, codes));
  return result.message(8, network.text(4, attach.direction === "EGRESS" ? "egress" : "ingress").int32s(5, codes));
}
