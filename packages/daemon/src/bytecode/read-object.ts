import { createHash } from "node:crypto";
import { errorText, KernelError } from "@bpfleet/base";
import { Btf, layoutFingerprint, renderType } from "@bpfleet/btf";
import type {
  BytecodeGlobal,
  BytecodeMap,
  BytecodeProgram,
  BytecodeReady,
  GlobalShape,
  MapType,
  ProgramType,
} from "@bpfleet/kernel";
import { BpfError, BpfObject, type Global } from "@bpfleet/native";
import { findLegacyMaps } from "./legacy-maps.ts";

export type ObjectFacts = Pick<BytecodeReady, "objectDigest" | "programs" | "maps" | "globals" | "license">;

/** What is in an ELF object; `what` names it in errors. Nothing reaches the kernel. */
export async function readObject(elf: Uint8Array, what: string): Promise<ObjectFacts> {
  if (Buffer.from(elf.subarray(0, 4)).toString("latin1") !== "\x7fELF")
    throw refused(`read ${what}: it is no ELF object; give what clang -target bpf made`, "not-elf");
  const legacy = findLegacyMaps(elf);
  if (legacy.length > 0) {
    const maps = legacy.map(({ name, instead }) => `map ${name}: ${instead}`).join(" ");
    throw refused(
      `read ${what}: it defines maps by SEC("maps"), which libbpf 1.0 and later refuse; write instead, and compile with clang -g: ${maps}`,
      "invalid",
    );
  }
  try {
    await using object = BpfObject.open(elf, { name: "brought" });
    const btf = parseBtf(object);
    return {
      objectDigest: createHash("sha256").update(elf).digest("hex"),
      programs: object.programs.map(({ name, section, type, instructionCount }): BytecodeProgram => ({
        entry: name,
        section,
        type: type === "unspec" ? undefined : (type as ProgramType),
        instructions: instructionCount,
      })),
      maps: object.maps
        .filter(({ isInternal }) => !isInternal)
        .map(({ name, type, keySize, valueSize, maxEntries, flags, btfKeyTypeId, btfValueTypeId }): BytecodeMap => ({
          name,
          definition: { type: type as MapType, keySize, valueSize, maxEntries, flags },
          layout: btf === undefined ? "" : `${layoutOf(btf, btfKeyTypeId)}:${layoutOf(btf, btfValueTypeId)}`,
          keyType: typeText(btf, btfKeyTypeId, keySize),
          valueType: typeText(btf, btfValueTypeId, valueSize),
        })),
      globals: btf === undefined ? [] : object.globals().map((global) => globalOf(global, btf)),
      license: object.license,
    };
  } catch (error) {
    if (!(error instanceof BpfError)) throw error;
    const hint = error.code === "no-btf" ? "; compile it with clang -g" : "";
    throw refused(`read ${what}: ${errorText(error)}${hint}`, error.code === "no-btf" ? "no-btf" : "not-elf", error);
  }
}

function refused(message: string, code: "invalid" | "no-btf" | "not-elf", cause?: unknown): KernelError {
  return new KernelError(message, { code, call: "BPF_OBJECT_OPEN", retry: "when-changed", cause });
}

/** Objects without maps and variables need none. */
function parseBtf(object: BpfObject): Btf | undefined {
  let bytes: Buffer;
  try {
    bytes = object.btf();
  } catch (error) {
    if (error instanceof BpfError) return undefined;
    throw error;
  }
  return bytes.length === 0 ? undefined : Btf.parse(bytes);
}

function layoutOf(btf: Btf, typeId: number): string {
  return typeId === 0 ? "" : layoutFingerprint(btf, typeId);
}

function typeText(btf: Btf | undefined, typeId: number, sizeBytes: number): string {
  return btf === undefined || typeId === 0 ? `${sizeBytes} bytes` : renderType(btf, typeId);
}

function globalOf({ name, section, size, typeId }: Global, btf: Btf): BytecodeGlobal {
  const shape = shapeOf(btf, typeId);
  return {
    name,
    section,
    sizeBytes: size,
    type: renderType(btf, typeId)
      .replaceAll(/\b(?:const|volatile)\s+/g, "")
      .replace(" [", "["),
    shape,
  };
}

function shapeOf(btf: Btf, typeId: number): GlobalShape {
  const type = btf.resolved(typeId);
  switch (type.kind) {
    case "variable":
      return shapeOf(btf, type.type);
    case "int":
      if (type.meaning === "bool") return { is: "bool" };
      // `char` has an encoding of its own only in some compilers.
      if (type.size === 1 && (type.meaning === "char" || type.name === "char")) return { is: "char" };
      return { is: "int", sizeBytes: type.size, isSigned: type.isSigned };
    case "float":
      return { is: "float", sizeBytes: type.size };
    case "enum":
    case "enum64": {
      const names = type.members.map((member) => [member.name, String(member.value ?? 0n)] as const);
      return { is: "enum", sizeBytes: type.size, names: Object.fromEntries(names) };
    }
    case "array":
      return { is: "array", count: type.count, of: shapeOf(btf, type.type) };
    default:
      return { is: "other", sizeBytes: btf.sizeOf(typeId) };
  }
}
