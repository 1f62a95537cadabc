export { programColumns as columns } from "../program/columns.ts";
