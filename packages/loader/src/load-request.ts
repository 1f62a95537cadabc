import { errorText } from "@bpfleet/base";
import { Fields } from "./fields.ts";
import { recognizeLayout, type Layout } from "./layout.ts";
import {
  directions,
  parseProceedOn,
  programTypes,
  pullPolicies,
  type AttachWish,
  type Direction,
  type LoadSource,
  type LoadType,
  type LoadWish,
} from "./load-wish.ts";
import { Refusal } from "./refusal.ts";

export interface LoadRequest {
  readonly layout: Layout;
  readonly wish: LoadWish;
}

/** Throws a Refusal for what no layout of bpfd's API can mean. */
export function parseLoadRequest(bytes: Uint8Array): LoadRequest {
  const fields = readFields(bytes);
  const layout = recognizeLayout(fields);
  if (layout === undefined)
    throw new Refusal(
      "aborted",
      "read LoadRequest: its fields are those of no bpfd API; the ones from November 2022 to v0.2.0 are known",
    );
  try {
    return { layout, wish: readers[layout](fields) };
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw new Refusal("invalid-argument", `read LoadRequest: ${errorText(cause)}`);
  }
}

export function readFields(bytes: Uint8Array): Fields {
  try {
    return Fields.parse(bytes);
  } catch (cause) {
    throw new Refusal("invalid-argument", `read message: ${errorText(cause)}`);
  }
}

const readers: Readonly<Record<Layout, (fields: Fields) => LoadWish>> = {
  p1: readP1,
  p2: readP2,
  p2b: readP2,
  p3: readP3,
  p4: readP4,
};

function readP1(fields: Fields): LoadWish {
  const path = fields.text(1);
  const type = typeOf(fields.int32(4));
  const network = fields.message(6);
  return {
    source: fields.int32(2) === 0 ? { file: path } : imageOf(path.replace(/^image:\/{1,3}/, "")),
    section: sectionOf(fields.text(3)),
    attach: attachOf(type, network, fields.message(7), {
      direction: enumOf(directions, fields.int32(5), "direction"),
      proceedOn: 4,
    }),
    globals: new Map(),
  };
}

function readP2(fields: Fields): LoadWish {
  const location = fields.text(1);
  const network = fields.message(4);
  const [, scheme, rest = ""] = /^(image|file):\/{2}(.*)$/s.exec(location) ?? [];
  if (scheme === undefined)
    throw new Refusal("aborted", `load ${JSON.stringify(location)}: give image://REFERENCE or file:///PATH`);
  return {
    source: scheme === "image" ? imageOf(rest) : { file: rest },
    section: sectionOf(fields.text(2)),
    attach: attachOf(typeOf(fields.int32(3)), network, fields.message(5), {
      direction: enumOf(directions, network?.int32(4) ?? 0, "direction"),
      proceedOn: 5,
    }),
    globals: fields.byteMap(6),
  };
}

function readP3(fields: Fields): LoadWish {
  const network = fields.message(5);
  return {
    source: sourceOf(fields),
    section: sectionOf(fields.text(3)),
    attach: attachOf(typeOf(fields.int32(4)), network, fields.message(6), {
      direction: enumOf(directions, network?.int32(4) ?? 0, "direction"),
      proceedOn: 5,
    }),
    globals: fields.byteMap(7),
  };
}

function readP4(fields: Fields): LoadWish {
  const common = fields.message(1) ?? Fields.parse(new Uint8Array());
  const id = common.text(5);
  return {
    source: sourceOf(common),
    section: sectionOf(common.text(3)),
    attach: attachOfP4(fields, typeOf(common.int32(4))),
    globals: common.byteMap(6),
    ...(id === "" ? {} : { id }),
  };
}

function attachOfP4(fields: Fields, type: LoadType): AttachWish {
  const [xdp, tc, tracepoint] = [fields.message(2), fields.message(3), fields.message(4)];
  switch (type) {
    case "XDP":
      return attachOf(type, xdp, undefined, { direction: "NONE", proceedOn: 4 });
    case "TC": {
      const text = (tc?.text(4) ?? "").toUpperCase();
      const direction = directions.find((known) => known === (text === "" ? "NONE" : text));
      if (direction === undefined) throw unknownValue("direction", text);
      return attachOf(type, tc, undefined, { direction, proceedOn: 5 });
    }
    case "TRACEPOINT":
      return attachOf(type, undefined, tracepoint, { direction: "NONE", proceedOn: 0 });
  }
}

function attachOf(
  type: LoadType,
  network: Fields | undefined,
  single: Fields | undefined,
  by: { readonly direction: Direction; readonly proceedOn: number },
): AttachWish {
  if (type === "TRACEPOINT") {
    if (single === undefined) throw new Refusal("aborted", "TRACEPOINT is not a valid attach point for this program");
    return { type, name: single.text(1) };
  }
  if (network === undefined) throw new Refusal("aborted", `load ${type}: no interface is given`);
  const proceedOn = network.int32s(by.proceedOn).map((number) => {
    const name = parseProceedOn(number);
    if (name === undefined) throw unknownValue("proceed_on", number);
    return name;
  });
  return { type, interface: network.text(2), priority: network.int32(1), direction: by.direction, proceedOn };
}

/** `image` in 1 or `file` in 2. */
function sourceOf(fields: Fields): LoadSource {
  const image = fields.message(1);
  if (image === undefined) return { file: fields.text(2) };
  const pullPolicy = enumOf(pullPolicies, image.int32(2), "image_pull_policy");
  return { image: image.text(1), pullPolicy, username: image.text(3), password: image.text(4) };
}

function imageOf(image: string): LoadSource {
  return { image, pullPolicy: "IfNotPresent", username: "", password: "" };
}

function sectionOf(section: string): string {
  if (section === "") throw new Refusal("aborted", "Unable to find a valid program with section name : none is given");
  return section;
}

function typeOf(number: number): LoadType {
  const type = programTypes[number];
  if (type === undefined) throw new Refusal("aborted", `${number} is not a valid program type`);
  return type;
}

function enumOf<T extends string>(names: readonly T[], number: number, field: string): T {
  const name = names[number];
  if (name === undefined) throw unknownValue(field, number);
  return name;
}

function unknownValue(field: string, value: unknown): Refusal {
  return new Refusal("aborted", `read LoadRequest: ${field} has no value ${String(value)}`);
}
