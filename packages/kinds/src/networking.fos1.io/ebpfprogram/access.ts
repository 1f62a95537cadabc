import { readAndReport } from "../../access.ts";

export const programAccess = readAndReport("ebpfprograms");
