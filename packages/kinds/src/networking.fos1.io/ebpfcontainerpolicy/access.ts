import { readAndReport } from "../../access.ts";

export const containerPolicyAccess = readAndReport("ebpfcontainerpolicies");
