export { configSpecSchema as specSchema } from "../config/spec.ts";
export { configStatusSchema as statusSchema } from "../config/status.ts";
