import { readAndReport } from "../../access.ts";

export const mapAccess = readAndReport("ebpfmaps");
