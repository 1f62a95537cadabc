import type { Btf } from "./btf.ts";
import type { BtfType } from "./btf-type.ts";
import { Walk } from "./walk.ts";

/** C, in one line: a struct with its fields, those of structs with names of their own left out. */
export function renderType(btf: Btf, typeId: number): string {
  return declare(btf, typeId, "", true, new Walk());
}

/** As it would be declared: `__u32 slots[16]`. */
export function renderDeclaration(btf: Btf, typeId: number, name: string): string {
  return declare(btf, typeId, name, false, new Walk());
}

function declare(btf: Btf, id: number, inner: string, isWhole: boolean, walk: Walk): string {
  const type = btf.get(id);
  const spaced = (text: string): string => (inner === "" ? text : `${text} ${inner}`);
  const more = (target: number, name: string): string => declare(btf, target, name, isWhole, walk.deeper());
  switch (type.kind) {
    case "void":
      return spaced("void");
    case "int":
    case "float":
      return spaced(type.name);
    case "typedef":
      return isWhole && isComposite(btf, id) ? more(type.type, inner) : spaced(type.name);
    case "struct":
    case "union": {
      const head = `${type.kind}${type.name === "" ? "" : ` ${type.name}`}`;
      return spaced(isWhole || type.name === "" ? `${head} ${body(btf, type, walk)}` : head);
    }
    case "enum":
    case "enum64":
      return spaced(
        type.name === "" ? `enum { ${type.members.map(({ name }) => name).join(", ")} }` : `enum ${type.name}`,
      );
    case "forward":
      return spaced(`${type.isUnion === true ? "union" : "struct"} ${type.name}`);
    case "array":
      return more(type.type, `${inner.startsWith("*") ? `(${inner})` : inner}[${type.count}]`);
    case "pointer":
      return declare(btf, type.type, `*${inner}`, false, walk.deeper());
    case "const":
    case "volatile":
      return btf.get(type.type).kind === "pointer"
        ? more(type.type, `${type.kind} ${inner}`.trim())
        : `${type.kind} ${more(type.type, inner)}`;
    case "restrict":
    case "type-tag":
    case "decl-tag":
      return more(type.type, inner);
    case "prototype":
      return prototype(btf, type, inner.startsWith("*") ? `(${inner})` : inner, walk);
    case "function":
    case "variable":
      return declare(btf, type.type, type.name, isWhole, walk.deeper());
    case "section":
      return spaced(
        `section ${type.name} { ${type.members.map((member) => `${declare(btf, member.type, "", false, walk.deeper())}; `).join("")}}`,
      );
  }
}

function body(btf: Btf, type: BtfType, walk: Walk): string {
  const fields = type.members.map(({ name, type: field, bits }) => {
    const declared = declare(btf, field, name, false, walk.deeper());
    return `${declared}${bits === undefined ? "" : `:${bits}`}; `;
  });
  return `{ ${fields.join("")}}`;
}

function prototype(btf: Btf, type: BtfType, inner: string, walk: Walk): string {
  const parameters = type.members.map((member, at) =>
    member.type === 0 && at === type.members.length - 1
      ? "..."
      : declare(btf, member.type, member.name, false, walk.deeper()),
  );
  return declare(
    btf,
    type.type,
    `${inner}(${parameters.length === 0 ? "void" : parameters.join(", ")})`,
    false,
    walk.deeper(),
  );
}

function isComposite(btf: Btf, id: number): boolean {
  const { kind } = btf.resolved(id);
  return kind === "struct" || kind === "union";
}
