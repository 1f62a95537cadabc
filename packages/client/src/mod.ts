export { clusterSource, inClusterAccess, type ClusterAccess } from "./cluster-source.ts";
export { directorySource, usualDirectory } from "./directory-source.ts";
export { MapError, type MapErrorCode } from "./map-error.ts";
export { parseNodeProgram, type NodeProgram, type ProgramInstance } from "./node-program.ts";
export { openMap, usualMapsSocket, usualTypes, type MapEntry, type MapOptions, type ReadableMap } from "./open-map.ts";
export { SourceError, type ProgramKind, type ProgramSource } from "./program-source.ts";
export { findProgram, loadedProgram, mapPath, usualSource, watchProgram, type ProgramOptions } from "./programs.ts";
