import { readAndReport } from "../../access.ts";

export const natPolicyAccess = readAndReport("ebpfnatpolicies");
