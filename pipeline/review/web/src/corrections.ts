import { element, explain, maybe, post, Refused, say, t } from "./page";
import type { Shape } from "./edit";
import type { Basis, Corrections, Loop, LoopCorrection } from "./types";

interface ValueChange { key: string; name: string; unit: string; before: string; after: string; reason?: string; grade: string }
interface Changed { stages: { stage: string; rows: ValueChange[] }[]; loop?: Loop; values?: string }

/** The beats of a loop that are measured. */
export function measuredBeats(loop: Loop): { ed: number; es: number }[] {
  return (loop.beats ?? []).filter((b) => !b.rejected).map((b) => ({ ed: b.ed, es: b.es }));
}

/** A loop's corrections with what was drawn in a frame in place of what was there. */
export function withShape(now: LoopCorrection, loop: Loop, shape: Shape): LoopCorrection {
  const frames = (now.frames ?? []).filter((f) => f.frame !== shape.frame).concat(shape.correction());
  // The beats stay where they are while their outlines change; a loop of the parasternal view may have none yet.
  const beats = now.beats ?? measuredBeats(loop);
  return { ...now, ...(beats.length ? { beats } : {}), frames };
}

/**
 * What a reader has changed in a study and not signed yet. It is kept for this
 * tab only, under the revision that was looked at; it holds no patient data.
 */
export class Draft {
  private history: string[] = [];
  current: Corrections = { loops: {} };
  /** What the server made of it last. */
  changed: Changed | undefined;
  private generation = 0;
  onchange: () => void = () => undefined;

  constructor(private readonly of: Basis) {
    try {
      const kept = sessionStorage.getItem(this.key);
      if (kept) [this.current, this.history] = JSON.parse(kept) as [Corrections, string[]];
    } catch { /* another version's draft */ }
  }

  get study(): string { return this.of.study; }

  /** What this tab keeps of the study. Another one that came under its UIDs after a removal has another name. */
  private get prefix(): string { return `corrections ${this.of.study} ${this.of.since} `; }

  private get key(): string { return `${this.prefix}${this.of.base}`; }

  /** What this tab kept of the study as it was before something new came. */
  get leftover(): Corrections | undefined {
    for (let i = 0; i < sessionStorage.length; i++) {
      const key = sessionStorage.key(i) ?? "";
      if (!key.startsWith(this.prefix) || key === this.key) continue;
      try {
        const [kept] = JSON.parse(sessionStorage.getItem(key) ?? "") as [Corrections, string[]];
        if (Object.keys(kept.loops).length) return kept;
      } catch { /* another version's draft */ }
    }
    return undefined;
  }

  /** Forgets what was kept of earlier revisions. */
  forgetLeftover(): void {
    const keys = Array.from({ length: sessionStorage.length }, (_, i) => sessionStorage.key(i) ?? "");
    for (const k of keys) if (k.startsWith(this.prefix) && k !== this.key) sessionStorage.removeItem(k);
  }

  /** Takes all loops' corrections at once; undo takes them back. */
  load(c: Corrections): void {
    this.history.push(JSON.stringify(this.current));
    this.current = { loops: { ...this.current.loops, ...c.loops } };
    this.keep();
  }

  get empty(): boolean {
    return Object.values(this.current.loops).every((l) => !l.excluded && !l.view && !l.beats && !l.frames?.length && !l.calipers);
  }

  get canUndo(): boolean { return this.history.length > 0; }

  loop(uid: string): LoopCorrection { return this.current.loops[uid] ?? {}; }

  /** Changes a loop's corrections; undo takes it back. */
  set(uid: string, change: LoopCorrection): void {
    this.history.push(JSON.stringify(this.current));
    if (this.history.length > 100) this.history.shift();
    this.current = { loops: { ...this.current.loops, [uid]: change } };
    this.keep();
  }

  undo(): void {
    const before = this.history.pop();
    if (before === undefined) return;
    this.current = JSON.parse(before) as Corrections;
    this.keep();
  }

  discard(): void {
    this.current = { loops: {} };
    this.history = [];
    this.keep();
  }

  private keep(): void {
    if (this.empty && !this.history.length) sessionStorage.removeItem(this.key);
    else sessionStorage.setItem(this.key, JSON.stringify([this.current, this.history]));
    this.onchange();
  }

  /** Asks the server what the values become. */
  async recalculate(loop?: string): Promise<Changed | undefined> {
    const mine = ++this.generation;
    const response = await post(`/study/${this.study}/recalculate`, { base: this.of.base, run: this.of.run, corrections: this.current, ...(loop ? { loop } : {}) });
    const changed = await response.json() as Changed;
    if (mine !== this.generation) return undefined; // a later one is on its way
    this.changed = changed;
    return changed;
  }

  async sign(verdict: string, comment: string): Promise<void> {
    const shown: Record<string, string> = {};
    for (const s of this.changed?.stages ?? []) for (const r of s.rows) shown[r.key] = r.after;
    await post(`/study/${this.study}/sign`, { base: this.of.base, run: this.of.run, corrections: this.current, verdict, comment, shown });
    this.discard();
  }
}

/** The value after a change, marked where it differs. */
function afterCell(r: ValueChange): HTMLElement {
  const value = document.createElement(r.after !== r.before ? "strong" : "span");
  value.textContent = r.after;
  value.dataset["after"] = r.key;
  return value;
}

function heads(table: HTMLTableElement, texts: readonly string[]): void {
  const head = table.createTHead().insertRow();
  for (const text of texts) {
    const th = document.createElement("th");
    th.textContent = text;
    head.append(th);
  }
}

/** Several stages in one table, a column for each; a value that changes has the one before it beside it. */
function showStages(root: Element, stages: Changed["stages"]): void {
  const table = document.createElement("table");
  heads(table, ["", ...stages.map((s) => s.stage || t("js.rest"))]);
  const body = table.createTBody(), reasons = new Set<string>();
  const names = [...new Map(stages.flatMap((s) => s.rows).map((r) => [r.name, r.unit])).entries()];
  for (const [name, unit] of names) {
    const row = body.insertRow();
    row.insertCell().textContent = unit ? `${name} (${unit})` : name;
    for (const s of stages) {
      const cell = row.insertCell(), r = s.rows.find((one) => one.name === name);
      if (!r) continue;
      if (r.after !== r.before) {
        const before = document.createElement("span");
        before.className = "muted";
        before.textContent = `${r.before} → `;
        cell.append(before);
      }
      cell.append(afterCell(r));
      cell.className = "nowrap";
      if (r.reason && r.after !== r.before) reasons.add(`${s.stage || t("js.rest")}, ${name}: ${r.reason}`);
    }
  }
  root.append(table);
  for (const reason of reasons) {
    const p = document.createElement("p");
    p.className = "reason doubt";
    p.textContent = reason;
    root.append(p);
  }
}

/** Shows values before and after; without a difference the values alone. */
export function showChanges(root: Element, changed: Changed | undefined): void {
  root.replaceChildren();
  if ((changed?.stages.length ?? 0) > 1) {
    showStages(root, changed!.stages);
    return;
  }
  for (const s of changed?.stages ?? []) {
    const table = document.createElement("table");
    heads(table, [s.stage, t("js.changes.before"), t("js.changes.after"), ""]);
    const body = table.createTBody();
    for (const r of s.rows) {
      const row = body.insertRow();
      row.insertCell().textContent = r.name;
      const before = row.insertCell(), after = row.insertCell(), unit = row.insertCell();
      before.textContent = r.before;
      before.className = after.className = "number";
      after.append(afterCell(r));
      unit.textContent = r.reason ?? r.unit;
      if (r.reason) unit.className = "reason";
    }
    root.append(table);
  }
}

/** The dialog in which a reader signs. */
export function signing(draft: Draft): () => void {
  const dialog = maybe("#sign", HTMLDialogElement);
  if (!dialog) return () => undefined;
  const problem = element(".problem", HTMLElement, dialog);
  let busy = false;
  for (const b of dialog.querySelectorAll<HTMLButtonElement>("[data-sign]")) {
    b.addEventListener("click", () => {
      if (busy) return;
      busy = true;
      const comment = element("textarea", HTMLTextAreaElement, dialog).value;
      draft.sign(b.dataset["sign"] ?? "", comment).then(() => {
        sessionStorage.setItem("say", t("js.signed"));
        location.assign(`/study/${draft.study}`);
      }).catch((e: unknown) => {
        busy = false;
        problem.textContent = explain(e);
        problem.hidden = false;
        if (e instanceof Refused && e.status === 409) problem.dataset["outdated"] = "true";
      });
    });
  }
  return () => {
    problem.hidden = true;
    // What is signed is what the server says now, not what the page said once.
    draft.recalculate().then((changed) => {
      if (changed) showChanges(element(".changes", HTMLElement, dialog), changed);
      dialog.showModal();
      element("[data-sign='']", HTMLButtonElement, dialog).focus();
    }).catch((e: unknown) => say(explain(e), true));
  };
}
