import { Cine } from "./cine";
import { Draft, showChanges, signing } from "./corrections";
import { CurvePlot } from "./curve";
import { element, embedded, explain, maybe, onChanges, onKeys, say, t } from "./page";
import type { Study } from "./types";
import { View } from "./view";

/** A still of a panel: a view that shows one frame until it plays. */
interface Still { view: View; frame: number; phase: string; href: string }

interface Panel { cine: Cine; stills: Still[]; curve?: CurvePlot; ed: number; stage: HTMLElement }

/** The study: stills and curves of the loops that the values come from; playing shows them together from ED. */
export function startStudy(): void {
  const data = embedded<Study>("data");
  const panels: Panel[] = [];

  for (const root of document.querySelectorAll<HTMLElement>("[data-panel]")) {
    const loop = data.loops[Number(root.dataset["panel"])];
    const stage = root.closest<HTMLElement>("[data-stage]");
    if (!loop || !stage) continue;
    const cine = new Cine(data.study, loop);
    const panel: Panel = { cine, stills: [], ed: Number(root.dataset["ed"]), stage };
    for (const box of root.querySelectorAll<HTMLElement>("[data-frame]")) {
      const still: Still = { view: new View(box, loop), frame: Number(box.dataset["frame"]), phase: box.dataset["phase"] ?? "", href: (box as HTMLAnchorElement).href };
      const found = new Map((loop.found ?? []).map((f) => [f.frame, f]));
      still.view.ondraw = (ctx) => {
        const i = cine.isPlaying ? cine.frame : still.frame;
        if (!cine.isPlaying) still.view.found(ctx, found.get(i), { contour: true, structures: false });
      };
      panel.stills.push(still);
    }
    const plot = root.querySelector<HTMLElement>("[data-curve]");
    if (plot && loop.curve) {
      panel.curve = new CurvePlot(plot, loop, cine.times);
      panel.curve.onseek = (frame) => { location.assign(`/study/${data.study}/loop/${loop.loop}#${frame}`); };
      panel.curve.seek(panel.ed);
    }
    // Until it plays, the stills need their own frames only.
    cine.frames.onload = () => still(panel);
    cine.onframe = () => still(panel);
    panels.push(panel);
    for (const s of panel.stills) cine.frames.seek(s.frame);
  }

  function still(panel: Panel): void {
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
      still(p);
    }
  }
  for (const b of document.querySelectorAll("[data-play]")) b.addEventListener("click", play);

  const stages = [...document.querySelectorAll<HTMLElement>("[data-stage]")];
  const tabs = [...document.querySelectorAll<HTMLElement>("[data-tab]")];
  function show(i: number): void {
    if (!stages[i]) return;
    for (const p of panels) p.cine.pause();
    stages.forEach((s, k) => { s.hidden = k !== i; });
    tabs.forEach((b, k) => b.setAttribute("aria-selected", String(k === i)));
    for (const p of visible()) { still(p); for (const s of p.stills) s.view.redraw(); }
  }
  tabs.forEach((b, i) => b.addEventListener("click", () => show(i)));

  // ---- corrections that wait for a signature ----

  const draft = data.may ? new Draft(data.study, data.base) : undefined;
  const sign = draft ? signing(draft) : undefined;
  for (const b of document.querySelectorAll("[data-open-sign]")) b.addEventListener("click", () => sign?.());
  const pending = maybe("#pending", HTMLElement);
  if (draft && pending) {
    const show = (): void => {
      pending.hidden = draft.empty;
      if (!draft.empty) {
        draft.recalculate().then((c) => { if (c) showChanges(element(".changes", HTMLElement, pending), c); }).catch((e: unknown) => say(explain(e), true));
      }
    };
    element("[data-discard]", HTMLElement, pending).addEventListener("click", () => { draft.discard(); show(); });
    show();
  }

  onKeys((key) => {
    if (key === "Enter" && sign) { sign(); return true; }
    if (key === " ") { play(); return true; }
    if (key >= "1" && key <= "9") {
      const p = visible()[Number(key) - 1];
      if (p) location.assign(`/study/${data.study}/loop/${p.cine.loop.loop}`);
      return p !== undefined;
    }
    if (key === "ArrowRight" || key === "ArrowLeft") {
      const now = stages.findIndex((s) => !s.hidden);
      show(now + (key === "ArrowRight" ? 1 : -1));
      return stages.length > 1;
    }
    if (key === "Escape") { location.assign("/"); return true; }
    return false;
  });

  // Something new about this study: the reader decides when to look.
  let told = false;
  onChanges((studies) => {
    if (told || !(studies.includes(data.study))) return;
    told = true;
    const bar = element("#changed", HTMLElement);
    bar.hidden = false;
    say(t("js.changed"));
  });
  addEventListener("pagehide", () => { for (const p of panels) p.cine.close(); });
}
