import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const namespaceColumns: readonly Column[] = [ageColumn];
