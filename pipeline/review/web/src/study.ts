import { Cine } from "./cine";
import { Draft, measuredBeats, showChanges, signing, withShape } from "./corrections";
import { CurvePlot } from "./curve";
import { Grips } from "./grips";
import { element, embedded, explain, maybe, mention, onChanges, onKeys, say, t } from "./page";
import { Quad } from "./quad";
import type { Corrections, Found, Loop, Study } from "./types";
import { View } from "./view";

/** A still of a panel: a view that shows one frame until it plays. */
interface Still { view: View; frame: number; grips?: Grips; hover: boolean }

interface Panel { cine: Cine; stills: Still[]; curve?: CurvePlot; ed: number; stage: HTMLElement; loop: Loop; found: Map<number, Found> }

function foundOf(loop: Loop): Map<number, Found> { return new Map((loop.found ?? []).map((f) => [f.frame, f])); }

/** The study: stills and curves of the loops that the values come from; playing shows them together from ED. */
export function startStudy(): void {
  const data = embedded<Study>("data");
  const panels: Panel[] = [];
  const draft = data.may ? new Draft(data) : undefined;

  for (const root of document.querySelectorAll<HTMLElement>("[data-panel]")) {
    const loop = data.loops[Number(root.dataset["panel"])];
    const stage = root.closest<HTMLElement>("[data-stage]");
    if (!loop || !stage) continue;
    const cine = new Cine(data.study, loop, [...root.querySelectorAll<HTMLElement>("[data-frame]")].map((e) => Number(e.dataset["frame"])));
    const panel: Panel = { cine, stills: [], ed: Number(root.dataset["ed"]), stage, loop, found: foundOf(loop) };
    for (const box of root.querySelectorAll<HTMLElement>("[data-frame]")) panel.stills.push(startStill(panel, box));
    const plot = root.querySelector<HTMLElement>("[data-curve]");
    if (plot && loop.curve) {
      panel.curve = new CurvePlot(plot, loop, cine.times);
      panel.curve.onseek = (frame) => { location.assign(`/study/${data.study}/loop/${loop.loop}#${frame}`); };
      panel.curve.seek(panel.ed);
    }
    // Until it plays, the stills need their own frames only.
    cine.frames.onload = () => show(panel);
    cine.onframe = () => show(panel);
    panels.push(panel);
    for (const s of panel.stills) cine.frames.seek(s.frame);
  }

  /** A still shows a frame, opens its loop when clicked, and lets a reader drag the outline. */
  function startStill(panel: Panel, box: HTMLElement): Still {
    const still: Still = { view: new View(box, panel.loop), frame: Number(box.dataset["frame"]), hover: false };
    const plain = { contour: true, structures: false };
    still.view.ondraw = (ctx) => {
      const f = panel.found.get(still.frame);
      if (panel.cine.isPlaying || !f) return;
      if (still.grips) still.grips.draw(ctx, f, plain, still.hover); else still.view.found(ctx, f, plain);
    };
    if (!draft || !measuredBeats(panel.loop).some((b) => b.ed === still.frame || b.es === still.frame)) return still;
    const grips = still.grips = new Grips(still.view);
    grips.take(panel.found.get(still.frame));
    grips.ondone = (shape) => {
      draft.set(panel.loop.loop, withShape(draft.loop(panel.loop.loop), panel.loop, shape));
      void refresh(panel);
    };
    box.draggable = false;
    box.title = t("js.dragorclick");
    let dragged = false;
    box.addEventListener("pointerdown", (e) => { dragged = !panel.cine.isPlaying && grips.start(e); if (dragged) e.preventDefault(); });
    box.addEventListener("pointermove", (e) => {
      if (!grips.move(e)) box.classList.toggle("grips", !panel.cine.isPlaying && grips.under(e) !== undefined);
    });
    box.addEventListener("pointerup", () => { if (dragged && !grips.end()) dragged = false; });
    box.addEventListener("pointercancel", () => { grips.take(panel.found.get(still.frame)); still.view.redraw(); });
    // The click that ends a drag does not open the loop.
    box.addEventListener("click", (e) => { if (dragged) { e.preventDefault(); dragged = false; } });
    for (const [name, on] of [["pointerenter", true], ["pointerleave", false]] as const) {
      box.addEventListener(name, () => { still.hover = on; still.view.redraw(); });
    }
    return still;
  }

  function show(panel: Panel): void {
    const { cine } = panel;
    panel.stills.forEach((s, i) => {
      // While it plays, the first picture moves and the second keeps ES.
      const frame = cine.isPlaying && i === 0 ? cine.frame : s.frame;
      s.view.show(cine.frames.get(frame));
    });
    if (cine.isPlaying) panel.curve?.seek(cine.frame);
  }

  function visible(): Panel[] { return panels.filter((p) => !p.stage.hidden); }

  function play(): void {
    const shown = visible();
    const on = shown.some((p) => p.cine.isPlaying);
    for (const p of shown) {
      if (on) { p.cine.pause(); p.curve?.seek(p.ed); } else { p.cine.seek(p.ed); p.cine.play(); }
      show(p);
    }
  }
  for (const b of document.querySelectorAll("[data-play]")) b.addEventListener("click", play);

  const stages = [...document.querySelectorAll<HTMLElement>("[data-stage]")];
  const tabs = [...document.querySelectorAll<HTMLElement>("[data-tab]")];
  const quadRoot = maybe("#quad", HTMLElement);
  const quad = quadRoot ? new Quad(quadRoot, data) : undefined;
  const quadTab = maybe("[data-quad-tab]", HTMLButtonElement);
  let at = 0;
  /** Shows stage i, or beyond the last all of them side by side. */
  function choose(i: number): void {
    const beside = quad !== undefined && i === stages.length;
    if (!stages[i] && !beside) return;
    at = i;
    for (const p of panels) p.cine.pause();
    stages.forEach((s, k) => { s.hidden = k !== i; });
    tabs.forEach((b, k) => b.setAttribute("aria-selected", String(k === i)));
    quadTab?.setAttribute("aria-selected", String(beside));
    if (beside) quad.open(); else quad?.close();
    for (const p of visible()) { show(p); for (const s of p.stills) s.view.redraw(); }
  }
  tabs.forEach((b, i) => b.addEventListener("click", () => choose(i)));
  quadTab?.addEventListener("click", () => choose(stages.length));

  // ---- corrections that wait for a signature ----

  const sign = draft ? signing(draft) : undefined;
  for (const b of document.querySelectorAll("[data-open-sign]")) b.addEventListener("click", () => sign?.());
  const pending = [...document.querySelectorAll<HTMLElement>("[data-pending]")];

  /** Has everything measured anew; what comes of a loop is shown in its panels. */
  async function refresh(...changed: Panel[]): Promise<void> {
    if (!draft) return;
    try {
      // At least once, for the values; the last answer stands for all.
      for (const p of changed.length ? changed : [undefined]) {
        const answer = await draft.recalculate(p?.loop.loop);
        if (!answer) return;
        if (p && answer.loop) take(p, answer.loop);
        for (const box of pending) showChanges(element(".changes", HTMLElement, box), answer);
      }
    } catch (e) {
      say(explain(e), true);
    }
    for (const box of pending) {
      box.hidden = draft.empty;
      element("[data-undo]", HTMLButtonElement, box).disabled = !draft.canUndo;
    }
  }

  /** Shows another state of a panel's loop. */
  function take(changed: Panel, loop: Loop): void {
    for (const p of panels) {
      if (p.loop.loop !== changed.loop.loop) continue;
      p.loop = loop;
      p.found = foundOf(loop);
      for (const s of p.stills) s.view.loop = loop;
      p.curve?.update(loop);
      for (const s of p.stills) {
        if (s.grips && !s.grips.holds) s.grips.take(p.found.get(s.frame));
        s.view.redraw();
      }
    }
  }

  /** The panels of loops that have corrections, or had. */
  const touched = new Set<string>();
  function corrected(): Panel[] {
    for (const uid of Object.keys(draft?.current.loops ?? {})) touched.add(uid);
    const seen = new Set<string>();
    return panels.filter((p) => touched.has(p.loop.loop) && !seen.has(p.loop.loop) && seen.add(p.loop.loop));
  }

  if (draft) {
    for (const box of pending) {
      element("[data-discard]", HTMLElement, box).addEventListener("click", () => { corrected(); draft.discard(); void refresh(...corrected()); });
      element("[data-undo]", HTMLElement, box).addEventListener("click", undo);
    }
    if (!draft.empty) void refresh(...corrected());
    offer(maybe("#earlier", HTMLElement), data.earlier, () => undefined);
    offer(maybe("#leftover", HTMLElement), draft.leftover, () => draft.forgetLeftover());
  }

  function undo(): void {
    if (!draft?.canUndo) return;
    corrected();
    draft.undo();
    void refresh(...corrected());
  }

  /** Corrections of the study as it was before can be made again. */
  function offer(root: HTMLElement | undefined, c: Corrections | undefined, taken: () => void): void {
    if (!root || !c || !draft) return;
    root.hidden = false;
    element("button", HTMLButtonElement, root).addEventListener("click", () => {
      const before = corrected().length;
      draft.load(c);
      draft.recalculate().then(() => {
        taken();
        root.hidden = true;
        void refresh(...corrected());
      }).catch((e: unknown) => {
        draft.undo();
        if (before) void refresh(...corrected());
        say(explain(e), true);
      });
    });
  }

  onKeys((key, event) => {
    if (event.ctrlKey) { undo(); return true; }
    if (key === "Enter" && sign) { sign(); return true; }
    if (key === " ") { if (quad?.isOpen) quad.toggle(); else play(); return true; }
    if (key === "q" && quad) { choose(quad.isOpen ? 0 : stages.length); return true; }
    if (key === "c" && quad?.isOpen) { quad.toggleContour(); return true; }
    if (key >= "1" && key <= "9") {
      const p = visible()[Number(key) - 1];
      if (p) location.assign(`/study/${data.study}/loop/${p.loop.loop}`);
      return p !== undefined;
    }
    if (key === "ArrowRight" || key === "ArrowLeft") {
      choose(at + (key === "ArrowRight" ? 1 : -1));
      return stages.length > 1;
    }
    if (key === "Escape") { if (quad?.isOpen) choose(0); else location.assign("/"); return true; }
    return false;
  });

  // Something new about this study: the reader decides when to look.
  let told = false;
  onChanges((studies) => {
    if (told || !(studies.includes(data.study))) return;
    told = true;
    const bar = element("#changed", HTMLElement);
    bar.hidden = false;
    mention(t("js.changed"));
  }, { study: data.study, run: data.run });
  addEventListener("pagehide", () => { for (const p of panels) p.cine.close(); quad?.close(); });
}
