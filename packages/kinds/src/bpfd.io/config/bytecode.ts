import { isRecord } from "@bpfleet/base";
import type { BytecodeSource } from "@bpfleet/kernel";
import { admit, describe } from "../../schema/admit.ts";
import type { IssueList } from "../../schema/admit.ts";
import { Type } from "../../schema/type.ts";

/** Where Secrets for pulling are looked for, the first that has one of the name. */
export const pullSecretNamespaces = ["bpfd", "kube-system"] as const;

const at = "/spec/bytecode";

const imageSchema = Type.Object({
  url: Type.String({ minLength: 1, maxLength: 1024 }),
  imagepullpolicy: Type.Enum(["Always", "Never", "IfNotPresent"], { default: "IfNotPresent" }),
  imagepullsecret: Type.Optional(
    Type.String({
      minLength: 1,
      maxLength: 253,
      pattern: "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
      patternMeaning: "the name of a Secret",
    }),
  ),
});

const formsSchema = Type.Object({
  imageurl: Type.Optional(Type.String({ minLength: 1, maxLength: 1024 })),
  path: Type.Optional(Type.String({ minLength: 2, maxLength: 4096 })),
  image: Type.Optional(imageSchema),
});

/** Reads `spec.bytecode` in any of its forms; says everything that is wrong with it and returns undefined then. */
export function parseBytecode(bytecode: unknown, found: IssueList): BytecodeSource | undefined {
  if (typeof bytecode === "string") return parseUrl(bytecode, found);
  if (!isRecord(bytecode)) {
    found.error(
      at,
      "bytecode",
      `must be text such as image://quay.io/bpfd-bytecode/xdp_pass:latest, or a mapping with imageurl, path or image, is ${describe(bytecode)}`,
    );
    return undefined;
  }
  const forms = admit(formsSchema, bytecode, at, found);
  if (!found.isSound(at) || !isRecord(forms)) return undefined;
  const { imageurl, path, image } = forms as Forms;
  const given = [imageurl, path, image].filter((form) => form !== undefined);
  if (given.length !== 1) {
    found.error(at, "bytecode", `must have exactly one of imageurl, path and image, has ${given.length}`);
    return undefined;
  }
  if (path !== undefined) return fileSource(path, `${at}/path`, found);
  if (imageurl !== undefined) return imageSource(imageurl, `${at}/imageurl`, found);
  if (image === undefined) return undefined;
  const source = imageSource(image.url, `${at}/image/url`, found);
  return source === undefined
    ? undefined
    : { ...source, pullPolicy: image.imagepullpolicy, pullSecret: image.imagepullsecret };
}

interface Forms {
  readonly imageurl?: string;
  readonly path?: string;
  readonly image?: {
    readonly url: string;
    readonly imagepullpolicy: ImageSource["pullPolicy"];
    readonly imagepullsecret?: string;
  };
}

type ImageSource = Extract<BytecodeSource, { from: "image" }>;

function parseUrl(text: string, found: IssueList): BytecodeSource | undefined {
  const [, scheme, slashes = "", rest = ""] = /^(image|file):(\/{1,3})(.*)$/s.exec(text) ?? [];
  if (scheme === "image") return imageSource(text, at, found);
  if (scheme === "file" && slashes.length !== 2) return fileSource(`/${rest}`, at, found);
  const help =
    scheme === "file"
      ? `; a path has three slashes: file:///${rest}`
      : /^[a-z][a-z0-9+.-]*:\/\//i.test(text)
        ? ""
        : text.startsWith("/")
          ? `; write file://${text}`
          : referenceForm.test(text)
            ? `; write image://${text}`
            : "";
  found.error(at, "bytecode", `must be image://REFERENCE or file:///PATH, is ${describe(text)}${help}`);
  return undefined;
}

function fileSource(path: string, where: string, found: IssueList): BytecodeSource | undefined {
  const steps = path.split("/").slice(1);
  const isPath = path.startsWith("/") && steps.every((step) => step !== "" && step !== "." && step !== "..");
  if (!isPath || /[\0\n]/.test(path)) {
    found.error(where, "bytecode", `must be an absolute path without . and .., is ${describe(path)}`);
    return undefined;
  }
  return { from: "file", path };
}

const component = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const host = "(?:[A-Za-z0-9](?:[-A-Za-z0-9.]*[A-Za-z0-9])?|\\[[0-9a-fA-F:]+\\])(?::[0-9]{1,5})?";
const tag = "[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}";
/** https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests */
const referenceForm = new RegExp(
  `^(?:${host}/)?${component}(?:/${component})*(?::${tag})?(?:@sha256:[0-9a-f]{64}|@sha512:[0-9a-f]{128})?$`,
);

function imageSource(text: string, where: string, found: IssueList): ImageSource | undefined {
  const reference = text.replace(/^image:\/{1,3}/, "");
  if (!referenceForm.test(reference)) {
    found.error(
      where,
      "bytecode",
      `must be the name of an image, as HOST/REPOSITORY:TAG or HOST/REPOSITORY@sha256:…, is ${describe(text)}${/[A-Z]/.test(reference.split("/").slice(1).join("/").split(/[:@]/)[0] ?? "") ? "; repositories are lower-case" : ""}`,
    );
    return undefined;
  }
  return { from: "image", reference, pullPolicy: "IfNotPresent" };
}
