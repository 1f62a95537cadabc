export { programSpecSchema as specSchema, programStatusSchema as statusSchema } from "../program/spec.ts";
