import { Cine } from "./cine";
import { Draft, measuredBeats, showChanges, signing, withShape } from "./corrections";
import { CurvePlot } from "./curve";
import { element, embedded, explain, maybe, number, onKeys, px, request, say, t } from "./page";
import { Grips } from "./grips";
import type { Basis, CaliperCorrection, Found, Loop, LoopCorrection, Point } from "./types";
import { colours, View, type Shown } from "./view";

const speeds = [0.1, 0.25, 0.5, 1, 2];

/** One loop: the player with everything that was found. */
export async function startLoop(): Promise<void> {
  const at = embedded<Basis & { loop: string; prev: string; next: string; may: boolean; views: string[] }>("data");
  let loop: Loop;
  try {
    loop = await (await request(`/study/${at.study}/loop/${at.loop}/data?run=${at.run}`)).json() as Loop;
  } catch (e) {
    say(explain(e), true);
    return;
  }
  if (loop.frames < 1) return;

  const wanted = Number(location.hash.slice(1));
  const first = location.hash && Number.isInteger(wanted) && wanted >= 0 && wanted < loop.frames ? wanted : loop.beats?.[0]?.ed ?? 0;
  const cine = new Cine(at.study, loop, [first]);
  const view = new View(element("#screen", HTMLElement), loop);
  const shown: Shown = { contour: true, structures: false };
  let found = new Map<number, Found>((loop.found ?? []).map((f) => [f.frame, f]));
  const decidedCalipers: CaliperCorrection[] = loop.decided?.calipers ?? [];
  let calipers = decidedCalipers;
  let measuring = false;
  let open: Point | undefined;

  const plotRoot = maybe("#curve", HTMLElement);
  let curve: CurvePlot | undefined;
  /** Shows the curve; a loop that is not measured has none. */
  function plot(): void {
    if (!plotRoot) return;
    plotRoot.hidden = !loop.curve;
    if (!loop.curve) return;
    if (curve) { curve.update(loop); return; }
    curve = new CurvePlot(plotRoot, loop, cine.times);
    curve.onseek = (i) => { cine.pause(); cine.seek(i); };
    curve.seek(cine.frame);
  }
  plot();

  // ---- what is shown ----

  const position = element("#position", HTMLElement);
  const scrub = element("#scrub", HTMLInputElement);
  scrub.max = String(loop.frames - 1);

  function phase(i: number): string {
    for (const b of loop.beats ?? []) {
      if (i === b.ed || i === b.next_ed) return "ED";
      if (i === b.es) return "ES";
    }
    return "";
  }

  function status(): void {
    const i = cine.frame;
    const time = loop.times ? `${number(loop.times[i] ?? 0, 0)} ms` : t("js.notimes");
    const v = loop.curve?.values[i];
    const value = v == null || !loop.curve ? "" : `${number(v, loop.curve.kind === "pixels" ? 0 : 1)} ${loop.curve.unit}`;
    position.textContent = [`${i + 1}/${loop.frames}`, time, phase(i), value].filter(Boolean).join("   ");
    scrub.value = String(i);
  }

  // ---- correcting ----

  const draft = at.may ? new Draft(at) : undefined;
  const openSign = draft ? signing(draft) : undefined;
  const panel = maybe("#correct", HTMLElement);
  const viewChoice = maybe("#view", HTMLSelectElement);
  const exclude = maybe("#exclude", HTMLInputElement);
  const grips = new Grips(view);
  /** Half of a beat that is set where there was none. */
  let half: { ed?: number; es?: number } = {};

  /** The beats as the reader has them, else those that are measured. */
  function beats(): { ed: number; es: number }[] { return draft?.loop(at.loop).beats ?? measuredBeats(loop); }

  function editable(i: number): boolean {
    if (!draft || cine.isPlaying || !shown.contour || draft.loop(at.loop).excluded || loop.status !== "analysed") return false;
    // Of the parasternal view the network's points may have given no beat: the reader says where ED and ES are.
    return loop.view === "PLAX" || beats().some((b) => b.ed === i || b.es === i);
  }

  function takeOutline(): void {
    grips.take(editable(cine.frame) ? found.get(cine.frame) : undefined);
  }

  /** Sends a change of this loop and shows what comes of it. */
  async function change(c: LoopCorrection): Promise<void> {
    if (!draft) return;
    draft.set(at.loop, c);
    await refresh();
  }

  /** Has everything measured anew and shows it. */
  async function refresh(): Promise<void> {
    if (!draft) return;
    calipers = draft.loop(at.loop).calipers ?? decidedCalipers;
    try {
      const changed = await draft.recalculate(at.loop);
      if (!changed) return;
      if (changed.loop) {
        loop = changed.loop;
        found = new Map((loop.found ?? []).map((f) => [f.frame, f]));
        plot();
        view.loop = loop;
        showLoop(changed.values);
      }
      // Beside the picture only the stages that change, and this loop's.
      const stages = changed.stages.filter((s) => s.stage === (loop.stage ?? "") || s.rows.some((r) => r.after !== r.before));
      if (panel) showChanges(element(".changes", HTMLElement, panel), draft.empty ? undefined : { ...changed, stages });
    } catch (e) {
      say(explain(e), true);
    }
    if (!grips.holds) takeOutline();
    view.redraw();
    status();
    press();
  }

  /** What changes of a loop beside its picture: why it is not measured, its values, what may be done with it. */
  function showLoop(values?: string): void {
    const reason = maybe("#reason", HTMLElement), table = maybe("#values", HTMLElement);
    if (reason) {
      reason.textContent = loop.reason ?? "";
      reason.hidden = !reason.textContent;
    }
    // The rows come from our own templates, which escape what they show.
    if (table && values !== undefined) {
      table.innerHTML = values;
      table.closest<HTMLElement>(".card")!.hidden = !values.trim();
    }
    for (const name of ["sethere-ed", "sethere-es", "dropbeat"]) {
      const b = maybe(`[data-do="${name}"]`, HTMLButtonElement);
      if (b) b.disabled = loop.status !== "analysed";
    }
  }

  grips.ondone = (shape) => { if (draft) void change(withShape(draft.loop(at.loop), loop, shape)); };

  /** Makes the frame shown the ED or ES of the nearest beat, or of a new one. */
  function setHere(which: "ed" | "es"): void {
    if (!draft || loop.status !== "analysed") return;
    cine.pause();
    const i = cine.frame, all = beats();
    if (!all.length) {
      half = { ...half, [which]: i };
      if (half.ed === undefined || half.es === undefined) { say(t("js.needboth")); return; }
      const beat = { ed: half.ed, es: half.es };
      half = {};
      void change({ ...draft.loop(at.loop), beats: [beat] });
      return;
    }
    const beat = all.reduce((a, b) => Math.abs(b[which] - i) < Math.abs(a[which] - i) ? b : a);
    void change({ ...draft.loop(at.loop), beats: all.map((b) => b === beat ? { ...b, [which]: i } : b) });
  }

  /** Calipers belong to their frame; a reader's are kept with the corrections, without measuring anew. */
  function keepCalipers(all: CaliperCorrection[]): void {
    calipers = all;
    draft?.set(at.loop, { ...draft.loop(at.loop), calipers: all });
    press();
  }

  function dropBeat(): void {
    if (!draft) return;
    const i = cine.frame, all = beats();
    if (all.length < 2) { say(t("js.lastbeat")); return; }
    const beat = all.reduce((a, b) => Math.min(Math.abs(b.ed - i), Math.abs(b.es - i)) < Math.min(Math.abs(a.ed - i), Math.abs(a.es - i)) ? b : a);
    void change({ ...draft.loop(at.loop), beats: all.filter((b) => b !== beat) });
  }

  if (viewChoice && draft) {
    const views = at.views.includes(loop.view) ? at.views : [loop.view, ...at.views];
    viewChoice.replaceChildren(...views.map((v) => new Option(v, v, v === loop.view, v === (draft.loop(at.loop).view ?? loop.view))));
    viewChoice.addEventListener("change", () => void change({ ...draft.loop(at.loop), view: viewChoice.value }));
  }
  exclude?.addEventListener("change", () => { if (draft) void change({ ...draft.loop(at.loop), excluded: exclude.checked }); });

  view.ondraw = (ctx) => {
    const f = found.get(cine.frame);
    if (grips.shape && f) grips.draw(ctx, f, shown, true); else view.found(ctx, f, shown);
    for (const c of calipers) if (c.frame === cine.frame) caliper(ctx, c.a, c.b);
    if (open) caliper(ctx, open, open);
    const p = phase(cine.frame);
    if (p) {
      ctx.font = `700 ${px(20)}px system-ui`;
      ctx.fillStyle = colours.caliper;
      ctx.fillText(p, px(12), px(28));
    }
  };

  function caliper(ctx: CanvasRenderingContext2D, a: Point, b: Point): void {
    view.line(ctx, [a, b], colours.caliper, 1.5, false);
    view.dot(ctx, a, colours.caliper, 3);
    view.dot(ctx, b, colours.caliper, 3);
    if (a === b) return;
    const [x, y] = view.toView(b);
    ctx.font = `600 ${px(14)}px system-ui`;
    ctx.fillStyle = colours.caliper;
    ctx.strokeStyle = "#000";
    ctx.lineWidth = 3;
    ctx.strokeText(view.length(a, b), x + 8, y - 6);
    ctx.fillText(view.length(a, b), x + 8, y - 6);
  }

  cine.onframe = (i) => {
    if (grips.shape?.frame !== i || cine.isPlaying) takeOutline();
    view.show(cine.frames.get(i));
    curve?.seek(i);
    status();
  };

  // ---- controls ----

  const toggles: Record<string, () => boolean> = {
    play: () => { cine.toggle(); return cine.isPlaying; },
    contour: () => (shown.contour = !shown.contour),
    structures: () => (shown.structures = !shown.structures),
    caliper: () => {
      measuring = !measuring;
      open = undefined;
      view.root.classList.toggle("measuring", measuring);
      return measuring;
    },
  };
  const actions: Record<string, () => void> = {
    back: () => cine.step(-1),
    forward: () => cine.step(1),
    ed: () => goto("ed"),
    es: () => goto("es"),
    slower: () => setSpeed(-1),
    faster: () => setSpeed(1),
    reset: () => view.reset(),
    clear: () => { open = undefined; if (calipers.length) keepCalipers([]); view.redraw(); },
    prev: () => { if (at.prev) location.assign(`/study/${at.study}/loop/${at.prev}`); },
    next: () => { if (at.next) location.assign(`/study/${at.study}/loop/${at.next}`); },
    study: () => location.assign(`/study/${at.study}`),
    "sethere-ed": () => setHere("ed"),
    "sethere-es": () => setHere("es"),
    dropbeat: dropBeat,
    undo: () => { if (draft?.canUndo) { draft.undo(); void refresh(); } },
    discard: () => { if (draft && !draft.empty) { draft.discard(); void refresh(); } },
    sign: () => openSign?.(),
    help: () => element("#help", HTMLDialogElement).showModal(),
    original: () => {
      const on = !(shown.contour || shown.structures);
      shown.contour = on;
      shown.structures = false;
      press();
      view.redraw();
    },
  };

  function setSpeed(d: number): void {
    const i = speeds.indexOf(cine.speed) + d;
    const v = speeds[Math.min(Math.max(i, 0), speeds.length - 1)];
    if (v !== undefined) cine.speed = v;
  }

  /** The next ED or ES after the current frame, round and round. */
  function goto(which: "ed" | "es"): void {
    const frames = [...new Set((loop.beats ?? []).flatMap((b) => which === "ed" ? [b.ed, ...(b.next_ed >= 0 ? [b.next_ed] : [])] : [b.es]))].sort((a, b) => a - b);
    if (!frames.length) { say(t("js.nobeats")); return; }
    cine.pause();
    cine.seek(frames.find((f) => f > cine.frame) ?? frames[0]!);
  }

  function press(): void {
    const states: Record<string, boolean> = { play: cine.isPlaying, contour: shown.contour, structures: shown.structures, caliper: measuring };
    for (const [name, on] of Object.entries(states)) {
      maybe(`[data-do="${name}"]`, HTMLButtonElement)?.setAttribute("aria-pressed", String(on));
    }
    if (draft) {
      for (const [name, on] of [["undo", draft.canUndo], ["discard", !draft.empty]] as const) {
        const b = maybe(`[data-do="${name}"]`, HTMLButtonElement);
        if (b) b.disabled = !on;
      }
      if (exclude) exclude.checked = draft.loop(at.loop).excluded ?? false;
      if (viewChoice) viewChoice.value = draft.loop(at.loop).view ?? loop.view;
    }
    element("#speed", HTMLElement).textContent = `${number(cine.speed, cine.speed < 1 ? 2 : 0)}×`;
  }

  function act(name: string): void {
    if (toggles[name]) toggles[name](); else actions[name]?.();
    if (!grips.holds) takeOutline();
    view.redraw();
    press();
  }

  for (const b of document.querySelectorAll<HTMLButtonElement>("[data-do]")) {
    b.addEventListener("click", () => act(b.dataset["do"] ?? ""));
  }
  scrub.addEventListener("input", () => { cine.pause(); cine.seek(Number(scrub.value)); });
  cine.onstate = press;

  const keys: Record<string, string> = {
    " ": "play", ArrowLeft: "back", ArrowRight: "forward", ArrowUp: "faster", ArrowDown: "slower", d: "ed", e: "es", c: "contour", s: "structures",
    o: "original", m: "caliper", r: "reset", x: "clear", PageUp: "prev", PageDown: "next", Escape: "study", "?": "help", h: "help", Enter: "sign",
  };
  onKeys((key, event) => {
    if (event.ctrlKey) { act("undo"); return true; }
    const name = keys[key];
    if (name) act(name);
    else if (key === "+" || key === "=") view.zoomBy(1.25);
    else if (key === "-") view.zoomBy(0.8);
    else if (key === "Home") { cine.pause(); cine.seek(0); }
    else if (key === "End") { cine.pause(); cine.seek(loop.frames - 1); }
    else return false;
    return true;
  });

  // ---- mouse on the picture ----

  const screen = view.root;
  screen.addEventListener("wheel", (e) => {
    e.preventDefault();
    if (e.ctrlKey || e.shiftKey) cine.step(e.deltaY > 0 ? 1 : -1);
    else view.zoomBy(e.deltaY < 0 ? 1.15 : 1 / 1.15, e);
  }, { passive: false });
  screen.addEventListener("contextmenu", (e) => e.preventDefault());
  let drag: { button: number; x: number; y: number } | undefined;
  screen.addEventListener("pointerdown", (e) => {
    if (measuring && e.button === 0) {
      const p = view.at(e);
      if (open) { keepCalipers([...calipers, { frame: cine.frame, a: open, b: p }]); open = undefined; } else open = p;
      view.redraw();
      return;
    }
    screen.setPointerCapture(e.pointerId);
    if (grips.start(e)) return;
    drag = { button: e.button, x: e.clientX, y: e.clientY };
  });
  screen.addEventListener("pointermove", (e) => {
    if (grips.move(e)) return;
    if (!drag) { screen.classList.toggle("grips", grips.under(e) !== undefined); return; }
    const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
    drag = { ...drag, x: e.clientX, y: e.clientY };
    if (drag.button === 2) view.windowBy(dx / 200, -dy / 200);
    else view.panBy(dx, dy);
  });
  screen.addEventListener("pointerup", () => { drag = undefined; grips.end(); });
  screen.addEventListener("dblclick", () => { if (!measuring) view.reset(); });

  // ---- start ----

  cine.seek(first);
  takeOutline();
  status();
  press();
  showLoop();
  if (draft && !draft.empty) await refresh();
  element("#screen", HTMLElement).dataset["ready"] = "true";
  addEventListener("pagehide", () => cine.close());
}
