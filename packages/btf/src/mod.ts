export * from "./btf-error.ts";
export * from "./btf-type.ts";
export { Btf } from "./btf.ts";
export { describeLayout, layoutChanges, layoutFingerprint } from "./layout.ts";
export { renderDeclaration, renderType } from "./render-type.ts";
export { decodeValue, type BtfValue } from "./decode-value.ts";
export { encodeValue } from "./encode-value.ts";
