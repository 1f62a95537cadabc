import { readAndReport } from "../../access.ts";

export const networkPolicyAccess = readAndReport("ebpfnetworkpolicies");
