export { Authority, type IssuedFiles } from "./certificates.ts";
export { bpfdProtos, type BpfdProto } from "./bpfd-protos.ts";
