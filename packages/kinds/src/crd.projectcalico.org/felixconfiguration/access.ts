import { readAndReport } from "../../access.ts";

export const felixAccess = readAndReport("felixconfigurations");
