import { programAccess } from "../program/access.ts";

export const access = programAccess("bpfprograms");
