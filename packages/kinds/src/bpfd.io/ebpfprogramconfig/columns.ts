export { configColumns as columns } from "../config/columns.ts";
