import { readAndReport } from "../../access.ts";

export const access = readAndReport("ciliumclusterwidenetworkpolicies");
