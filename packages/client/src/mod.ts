export { clusterSource, inClusterAccess, type ClusterAccess } from "./cluster-source.ts";
export { directorySource, usualDirectory } from "./directory-source.ts";
export { parseNodeProgram, type NodeProgram, type ProgramInstance } from "./node-program.ts";
export { SourceError, type ProgramKind, type ProgramSource } from "./program-source.ts";
export { findProgram, loadedProgram, mapPath, usualSource, watchProgram, type ProgramOptions } from "./programs.ts";
export { openMap, type ReadableMap } from "./read-map.ts";
