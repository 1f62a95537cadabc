import { readAndReport } from "../../access.ts";

export const trafficControlAccess = readAndReport("ebpftrafficcontrols");
