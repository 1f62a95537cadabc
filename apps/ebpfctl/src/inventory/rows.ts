import type { Finding, HoldingProcess, KeyOwner, MapUse, ProgramPlace, Survey } from "@bpfleet/daemon/client";
import type { InventoryLink, InventoryMap, InventoryProgram } from "@bpfleet/kernel";

interface Owned {
  readonly owner?: KeyOwner | undefined;
  readonly heldBy: readonly HoldingProcess[];
  readonly findings: readonly Finding[];
}

export interface ProgramRow extends InventoryProgram, Owned {
  readonly places: readonly ProgramPlace[];
  /** In the window that was asked for. */
  readonly sampled?: { readonly runs: bigint; readonly timeNs: bigint; readonly windowMs: number } | undefined;
}

export interface MapRow extends InventoryMap, Owned {
  readonly use?: MapUse | undefined;
  readonly programs: readonly number[];
}

export interface LinkRow extends InventoryLink, Owned {}

/** What a survey says of each program, map and link, put together. */
export class SurveyRows {
  readonly #survey: Survey;
  readonly #owners: ReadonlyMap<string, KeyOwner>;

  constructor(survey: Survey) {
    this.#survey = survey;
    this.#owners = new Map(survey.owners.map((owner) => [owner.key, owner]));
  }

  programs(): ProgramRow[] {
    const { inventory, places, sample } = this.#survey;
    const runs = new Map(sample?.runs.map((each) => [each.programId, each]));
    return inventory.programs.map((program) => ({
      ...program,
      ...this.#owned(program.ours, ({ programIds }) => programIds.includes(program.id)),
      places: places.filter(({ programId }) => programId === program.id),
      ...(sample && {
        sampled: { runs: 0n, timeNs: 0n, ...pickRuns(runs.get(program.id)), windowMs: sample.windowMs },
      }),
    }));
  }

  maps(): MapRow[] {
    const { inventory, maps } = this.#survey;
    const uses = new Map(maps.map((use) => [use.mapId, use]));
    return inventory.maps.map((map) => ({
      ...map,
      ...this.#owned(map.ours, ({ mapIds }) => mapIds.includes(map.id)),
      use: uses.get(map.id),
      programs: inventory.programs.filter(({ mapIds }) => mapIds.includes(map.id)).map(({ id }) => id),
    }));
  }

  links(): LinkRow[] {
    return this.#survey.inventory.links.map((link) => ({
      ...link,
      ...this.#owned(link.ours, ({ linkIds }) => link.id !== 0 && linkIds.includes(link.id)),
    }));
  }

  #owned(key: string | undefined, holds: (process: HoldingProcess) => boolean): Owned {
    return {
      owner: key === undefined ? undefined : this.#owners.get(key),
      heldBy: this.#survey.processes.filter(holds),
      findings: this.#survey.findings.filter((finding) => key !== undefined && finding.key === key),
    };
  }
}

function pickRuns(runs: { readonly runs: bigint; readonly timeNs: bigint } | undefined) {
  return runs && { runs: runs.runs, timeNs: runs.timeNs };
}
