import { errorText, KernelError, type ErrorCode } from "@bpfleet/base";
import { renderAction, type Action } from "./action.ts";
import { carryCounters } from "./carry.ts";
import { slotsOf } from "./entries.ts";
import { planGenerations, renderIdentity, sameIdentity } from "./identity.ts";
import type { HookResult, ItemError, ItemResult, KernelPort, ObservedKernel } from "./port.ts";
import type { Journal } from "./journal.ts";
import { runnableOf } from "./runnable.ts";
import type { MapReference, NodePlan } from "./specs.ts";

export interface ApplyOptions {
  /** What the actions lead to; every item of it gets a result. */
  readonly plan: NodePlan;
  /** What the actions were made from. */
  readonly observed: ObservedKernel;
  /** What the actions were made with; it knows why hooks that are not touched do not run as asked. */
  readonly journal?: Journal | undefined;
  /** Use cls_bpf even where TCX exists. */
  readonly legacyTc?: boolean | undefined;
  /** Why an action is not to be tried now: what it failed with before. It then counts as failed again. */
  readonly hold?: ((action: Action) => ItemError | undefined) | undefined;
  /** Whether an action was tried before and failed. */
  readonly hasFailed?: ((action: Action) => boolean) | undefined;
  /**
   * Called once, and awaited before anything changes that is there; what is only added does not wait for it. Where hooks
   * are added it is called while the kernel sets those.
   */
  readonly beforeChanges?: (() => Promise<unknown>) | undefined;
  /** Carries out this many actions and stops, as a killed process would. */
  readonly stopAfter?: number | undefined;
  /** Called after each action, done or not. */
  readonly onAction?: ((outcome: ActionOutcome) => void) | undefined;
}

export interface ActionOutcome {
  readonly action: Action;
  readonly state: "done" | "failed" | "withheld";
  readonly error?: ItemError | undefined;
  readonly hook?: HookResult | undefined;
  /** Of a hook that not all of its programs run on as planned: what the first of them failed with. */
  readonly without?: ItemError | undefined;
  /** Nothing had to be done. */
  readonly isIdle?: boolean | undefined;
}

export interface Applied {
  /** One per map, program and hook of the plan, in its order. */
  readonly results: readonly ItemResult[];
  readonly outcomes: readonly ActionOutcome[];
  /** Generations that the kernel refused to inline: for the journal. */
  readonly refusedInline: readonly string[];
  /** Every action was carried out, and none failed. */
  readonly isComplete: boolean;
}

/** Errors after which trying to inline the same members again gives the same. */
const lastingRefusals: readonly ErrorCode[] = ["verifier", "too-big", "not-supported", "invalid"];

/** What the process or the machine lacks: every other place lacks it too. */
const shortages: ReadonlySet<string | undefined> = new Set(["ENOMEM", "EMFILE", "ENFILE", "ENOSPC"]);

/** What does not wait until the kernel's programs have let go of what a reference held before. */
const goesOn: ReadonlySet<Action["do"]> = new Set(["put-reference", "load-program", "set-hook"]);

/** The kernel sets one after the other, and rests after each: what must be known of the second is, when its turn comes. */
const hooksAtOnce = 2;

/**
 * Carries actions out, one after the other. What goes on without it does not wait for the end of a put, nor for new
 * hooks what is only added. What fails stops only what needs it; nothing is thrown.
 */
export async function applyActions(
  actions: readonly Action[],
  port: KernelPort,
  options: ApplyOptions,
): Promise<Applied> {
  const outcomes = new Map<string, ActionOutcome>();
  const refusedInline: string[] = [];
  const putting = new Map<string, Promise<void>>();
  let setting: Promise<void>[] = [];
  const carry = async (action: Action): Promise<void> => {
    const outcome = await carryOut(action, outcomes, port, options);
    outcomes.set(action.id, outcome);
    if (action.do === "inline-hook" && outcome.error && lastingRefusals.includes(outcome.error.code)) {
      refusedInline.push(action.generation);
    }
    options.onAction?.(outcome);
  };
  const isNewHook = (action: Action): boolean => action.do === "set-hook" && isAddition(action, options.observed);
  let allowing = actions.some(isNewHook) ? undefined : options.beforeChanges?.();
  for (const action of actions.slice(0, options.stopAfter ?? actions.length)) {
    const isAdded = isAddition(action, options.observed);
    if (!isAdded) allowing ??= options.beforeChanges?.();
    if (!isAdded || (isNewHook(action) && setting.length === hooksAtOnce)) {
      await Promise.all(setting);
      setting = [];
    }
    const needed = goesOn.has(action.do)
      ? action.needs.flatMap((need) => putting.get(need) ?? [])
      : [...putting.values()];
    await Promise.all(needed);
    if (!isAdded) await allowing;
    if (action.do === "put-reference") putting.set(action.id, carry(action));
    else if (isNewHook(action)) setting.push(carry(action));
    else await carry(action);
  }
  await Promise.all([...setting, ...putting.values()]);
  return {
    results: resultsOf(options, outcomes, actions),
    outcomes: [...outcomes.values()],
    refusedInline,
    isComplete: outcomes.size === actions.length && [...outcomes.values()].every((outcome) => outcome.state === "done"),
  };
}

async function carryOut(
  action: Action,
  outcomes: ReadonlyMap<string, ActionOutcome>,
  port: KernelPort,
  options: ApplyOptions,
): Promise<ActionOutcome> {
  const causeIn = (needs: readonly string[]) =>
    needs
      .map((need) => outcomes.get(need))
      .find((outcome) => outcome !== undefined && isObstacle(action, outcome, options));
  const causes = action.needsOne?.map(causeIn) ?? [];
  const cause = causeIn(action.needs) ?? (causes.includes(undefined) ? undefined : causes[0]);
  if (cause !== undefined) {
    const error: ItemError = {
      code: (cause.error ?? cause.without)?.code ?? "internal",
      message: `${renderAction(action)}: waits for: ${(cause.error ?? cause.without)?.message}`,
    };
    if (action.do === "set-hook" && cause.action.do !== "put-reference")
      return setWithout(action, error, outcomes, port, options);
    return { action, state: "withheld", error };
  }
  return tryAction(action, port, options);
}

function isObstacle(
  { do: deed }: Action,
  { action, state, error, without }: ActionOutcome,
  { hasFailed }: ApplyOptions,
): boolean {
  // What is to be inlined is what the hook runs.
  if (state === "done") return deed === "inline-hook" && without !== undefined;
  if (deed !== "put-reference" || action.do !== "set-hook" || state !== "failed") return true;
  // What is wrong with one place (its interface is gone, it takes no more programs) keeps nothing from the others; what
  // the machine lacks does, and what may pass until the next time.
  if (error?.retry !== "backoff") return false;
  return error.isShortage === true || hasFailed?.(action) !== true;
}

/** The programs of a hook that can run are not held back by one that cannot be loaded. */
async function setWithout(
  action: Extract<Action, { do: "set-hook" }>,
  without: ItemError,
  outcomes: ReadonlyMap<string, ActionOutcome>,
  port: KernelPort,
  options: ApplyOptions,
): Promise<ActionOutcome> {
  const runnable = runnableOf(action, options.observed, ({ identity }) => {
    const load = outcomes.get(`load-program ${renderIdentity(identity)}`);
    return load === undefined || load.state === "done";
  });
  if (runnable === undefined) return { action, state: "withheld", error: without };
  const { members, generation, isInForce } = runnable;
  const short = { ...action, members, generation };
  if (isInForce) return { action: short, state: "done", without, isIdle: true };
  return { ...(await tryAction(short, port, options)), without };
}

async function tryAction(action: Action, port: KernelPort, options: ApplyOptions): Promise<ActionOutcome> {
  const held = options.hold?.(action);
  if (held !== undefined) return { action, state: "failed", error: held };
  try {
    const hook = await perform(action, port, options.legacyTc ?? false);
    return { action, state: "done", hook: hook && withEarlierReason(hook, action, options.journal) };
  } catch (error) {
    return { action, state: "failed", error: toItemError(error, action) };
  }
}

async function perform(action: Action, port: KernelPort, legacyTc: boolean): Promise<HookResult | undefined> {
  switch (action.do) {
    case "create-map":
      await port.createMap(action.spec);
      return undefined;
    case "write-map":
      await port.writeMap(action.identity, action.puts, action.deletes);
      return undefined;
    case "put-reference":
      await port.putReference(action.spec, action.slot, action.map);
      return undefined;
    case "drop-reference":
      await port.dropReference(action.identity, action.slot);
      return undefined;
    case "load-program":
      if (action.replaces) await port.removeProgram(action.identity);
      await port.loadProgram(action.spec, action.identity, action.maps);
      return undefined;
    case "set-hook":
    case "inline-hook":
      if (action.members.length > 0) return setHook(action, port, legacyTc);
      await port.clearHook(action.spec.key);
      return undefined;
    case "pin-map":
      await port.pinMap(action.identity, action.pinPath);
      return undefined;
    case "carry-counters":
      await carryCounters(port, action.from, action.to);
      return undefined;
    case "clear-hook":
      await port.clearHook(action.key);
      return undefined;
    case "unpin-map":
      await port.unpinMap(action.identity, action.pinPath);
      return undefined;
    case "remove-program":
      await port.removeProgram(action.identity);
      return undefined;
    case "remove-map":
      await port.removeMap(action.identity);
      return undefined;
  }
}

/** XDP as asked; else in the driver where it can, or in the generic path with what the driver said. */
async function setHook(
  action: Extract<Action, { do: "set-hook" | "inline-hook" }>,
  port: KernelPort,
  legacyTc: boolean,
): Promise<HookResult> {
  const { spec, generation, members, xdpMode } = action;
  const isModeFixed = xdpMode !== undefined;
  try {
    return await port.setHook({ spec, generation, members, mode: xdpMode ?? "native", isModeFixed, legacyTc });
  } catch (error) {
    if (spec.point.hook !== "xdp" || !(error instanceof KernelError) || error.code !== "not-supported") throw error;
    if (isModeFixed) {
      const help =
        xdpMode === "native" ? "native mode is asked for there; skb works with every driver" : "ask for native mode";
      const { code, call, errno, retry, detail } = error;
      throw new KernelError(`${error.message}; ${help}`, { code, call, errno, retry, detail, cause: error });
    }
    // What is there in the driver cannot take this program either: it moves, the one change that is not one step.
    const result = await port.setHook({ spec, generation, members, mode: "skb", isModeFixed: true, legacyTc });
    return { ...result, reason: error.message };
  }
}

/** What went to the generic path stays there by later updates, for the same reason. */
function withEarlierReason(hook: HookResult, action: Action, journal: Journal | undefined): HookResult {
  if (!("spec" in action) || hook.mode !== "skb" || hook.reason !== undefined) return hook;
  const reason = journal?.reasons?.[action.spec.key];
  return reason === undefined ? hook : { ...hook, reason };
}

function toItemError(error: unknown, action: Action): ItemError {
  if (error instanceof KernelError)
    return {
      code: error.code,
      message: error.message,
      detail: error.detail,
      retry: error.retry,
      ...(shortages.has(error.errno) && { isShortage: true }),
    };
  const text = errorText(error);
  return {
    code: "internal",
    message: `${renderAction(action)}: ${text}`,
    detail: error instanceof Error ? error.stack : undefined,
    retry: "backoff",
  };
}

function resultsOf(
  options: ApplyOptions,
  outcomes: ReadonlyMap<string, ActionOutcome>,
  actions: readonly Action[],
): ItemResult[] {
  const { plan, observed } = options;
  const generations = planGenerations(plan);
  const ran = new Map(observed.hooks.map((hook) => [hook.key, hook.result]));
  const known = new Set(actions.map((action) => action.id));
  const result = (item: ItemResult["item"], key: string, ids: readonly string[], hook?: HookResult): ItemResult => {
    const own = ids.map((id) => outcomes.get(id)).filter((outcome) => outcome !== undefined);
    const bad =
      own.find((outcome) => outcome.state === "failed") ?? own.find((outcome) => outcome.state === "withheld");
    if (bad !== undefined && bad.state !== "done") return { item, key, state: bad.state, error: bad.error, hook };
    if (ids.some((id) => known.has(id) && !outcomes.has(id))) {
      return {
        item,
        key,
        state: "withheld",
        error: { code: "stale", message: "stopped before it was its turn" },
        hook,
      };
    }
    return { item, key, state: "in-force", hook };
  };
  const maps = plan.maps.map(({ key, pinPath, contents }) => {
    const identity = generations.maps.get(key);
    const name = identity ? renderIdentity(identity) : "";
    const references = contents.kind === "refers" ? contents.entries : [];
    if (references.some(({ map }) => !generations.maps.has(map))) return lacking("map", key);
    const putId = ({ slot }: MapReference) => `put-reference ${name} ${slot}`;
    const ids = [
      `create-map ${name}`,
      `write-map ${name}`,
      `pin-map ${name} ${pinPath ?? ""}`,
      `carry-counters ${name}`,
      ...references.map(putId),
    ];
    const became = result("map", key, ids);
    const earlier = references.filter((reference) => keepsEarlier(outcomes.get(putId(reference)), observed));
    return earlier.length === 0 ? became : { ...became, earlier: earlier.map(({ map }) => map) };
  });
  const programs = plan.programs.map(({ key }) => {
    const identity = generations.programs.get(key);
    return identity === undefined
      ? lacking("program", key)
      : result("program", key, [`load-program ${renderIdentity(identity)}`]);
  });
  const hooks = plan.hooks.map(({ key }): ItemResult => {
    const wanted = generations.hooks.get(key);
    if (wanted === undefined) return lacking("hook", key);
    const before = ran.get(wanted.key);
    const reason = options.journal?.reasons?.[key];
    const known = before && isLess(before) && reason !== undefined ? { ...before, reason } : before;
    const set = outcomes.get(`set-hook ${key}`);
    const isEmpty = set?.state === "done" && set.action.do === "set-hook" && set.action.members.length === 0;
    const hook = isEmpty ? undefined : (outcomes.get(`inline-hook ${key}`)?.hook ?? set?.hook ?? known);
    const earlier = set?.state === "done" ? earlierIn(set.action) : [];
    const isShort = set?.state === "done" && set.without !== undefined && !runsAnyOfPlan(set.action);
    const became: ItemResult = isShort
      ? { item: "hook", key, state: "withheld", error: set.without, hook }
      : result("hook", key, [`set-hook ${key}`], hook);
    return earlier.length === 0 ? became : { ...became, earlier };
  });
  return [...maps, ...programs, ...hooks];
}

/** Nothing that is there becomes another by it. */
function isAddition(action: Action, observed: ObservedKernel): boolean {
  switch (action.do) {
    case "create-map":
      return true;
    case "load-program":
      return !action.replaces;
    case "set-hook":
      return action.why === "new";
    case "put-reference":
      return !isTaken(action, observed);
    default:
      return false;
  }
}

/** The slot was not written, and is not empty. */
function keepsEarlier(outcome: ActionOutcome | undefined, observed: ObservedKernel): boolean {
  if (outcome === undefined || outcome.state === "done" || outcome.action.do !== "put-reference") return false;
  return isTaken(outcome.action, observed);
}

function isTaken({ identity, slot }: Extract<Action, { do: "put-reference" }>, { maps }: ObservedKernel): boolean {
  const entries = maps.find((map) => sameIdentity(map, identity))?.entries;
  return entries !== undefined && slotsOf(entries).has(slot);
}

function runsAnyOfPlan(action: Action): boolean {
  return action.do === "set-hook" && action.members.some((member) => member.isEarlier !== true);
}

function earlierIn(action: Action): readonly string[] {
  if (action.do !== "set-hook") return [];
  return action.members.flatMap(({ isEarlier, identity }) => (isEarlier === true ? [identity.key] : []));
}

/** It runs in another way than the best one. */
function isLess({ mode, memberModes }: HookResult): boolean {
  return mode === "skb" || memberModes.includes("stub");
}

function lacking(item: ItemResult["item"], key: string): ItemResult {
  return {
    item,
    key,
    state: "withheld",
    error: { code: "not-found", message: `${item} ${key}: a map or program that it names is not in the plan` },
  };
}
