import type { Column } from "../../kind.ts";
import { ageColumn } from "../../schema/columns.ts";

export const secretColumns: readonly Column[] = [
  { name: "Type", jsonPath: ".type", type: "string", priority: 0, description: "What the secret holds." },
  ageColumn,
];
