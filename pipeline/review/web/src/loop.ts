import { Cine } from "./cine";
import { CurvePlot } from "./curve";
import { element, embedded, explain, maybe, number, onKeys, request, say, t } from "./page";
import type { Found, Loop, Point } from "./types";
import { colours, View, type Shown } from "./view";

const speeds = [0.1, 0.25, 0.5, 1, 2];

/** One loop: the player with everything that was found. */
export async function startLoop(): Promise<void> {
  const at = embedded<{ study: string; loop: string; prev: string; next: string }>("data");
  let loop: Loop;
  try {
    loop = await (await request(`/study/${at.study}/loop/${at.loop}/data`)).json() as Loop;
  } catch (e) {
    say(explain(e), true);
    return;
  }
  if (loop.frames < 1) return;

  const cine = new Cine(at.study, loop);
  const view = new View(element("#screen", HTMLElement), loop);
  const shown: Shown = { contour: true, structures: false };
  const found = new Map<number, Found>((loop.found ?? []).map((f) => [f.frame, f]));
  const calipers: [Point, Point][] = [];
  let measuring = false;
  let open: Point | undefined;

  const plotRoot = maybe("#curve", HTMLElement);
  let curve: CurvePlot | undefined;
  if (plotRoot && loop.curve) {
    curve = new CurvePlot(plotRoot, loop, cine.times);
    curve.onseek = (i) => { cine.pause(); cine.seek(i); };
  } else if (plotRoot) {
    plotRoot.hidden = true;
  }

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

  view.ondraw = (ctx) => {
    view.found(ctx, found.get(cine.frame), shown);
    for (const c of open ? [...calipers, [open, open] as [Point, Point]] : calipers) caliper(ctx, c);
    const p = phase(cine.frame);
    if (p) {
      ctx.font = "700 20px system-ui";
      ctx.fillStyle = colours.caliper;
      ctx.fillText(p, 12, 28);
    }
  };

  function caliper(ctx: CanvasRenderingContext2D, [a, b]: [Point, Point]): void {
    view.line(ctx, [a, b], colours.caliper, 1.5, false);
    view.dot(ctx, a, colours.caliper, 3);
    view.dot(ctx, b, colours.caliper, 3);
    if (a === b) return;
    const [x, y] = view.toView(b);
    ctx.font = "600 14px system-ui";
    ctx.fillStyle = colours.caliper;
    ctx.strokeStyle = "#000";
    ctx.lineWidth = 3;
    ctx.strokeText(view.length(a, b), x + 8, y - 6);
    ctx.fillText(view.length(a, b), x + 8, y - 6);
  }

  cine.onframe = (i) => {
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
    clear: () => { calipers.length = 0; open = undefined; view.redraw(); },
    prev: () => { if (at.prev) location.assign(`/study/${at.study}/loop/${at.prev}`); },
    next: () => { if (at.next) location.assign(`/study/${at.study}/loop/${at.next}`); },
    study: () => location.assign(`/study/${at.study}`),
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
    element("#speed", HTMLElement).textContent = `${number(cine.speed, cine.speed < 1 ? 2 : 0)}×`;
  }

  function act(name: string): void {
    if (toggles[name]) { toggles[name](); view.redraw(); } else actions[name]?.();
    press();
  }

  for (const b of document.querySelectorAll<HTMLButtonElement>("[data-do]")) {
    b.addEventListener("click", () => act(b.dataset["do"] ?? ""));
  }
  scrub.addEventListener("input", () => { cine.pause(); cine.seek(Number(scrub.value)); });
  cine.onstate = press;

  const keys: Record<string, string> = {
    " ": "play", ArrowLeft: "back", ArrowRight: "forward", ArrowUp: "faster", ArrowDown: "slower", d: "ed", e: "es", c: "contour", s: "structures",
    o: "original", m: "caliper", r: "reset", x: "clear", PageUp: "prev", PageDown: "next", Escape: "study", "?": "help", h: "help",
  };
  onKeys((key) => {
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
      if (open) { calipers.push([open, p]); open = undefined; } else open = p;
      view.redraw();
      return;
    }
    drag = { button: e.button, x: e.clientX, y: e.clientY };
    screen.setPointerCapture(e.pointerId);
  });
  screen.addEventListener("pointermove", (e) => {
    if (!drag) return;
    const dx = e.clientX - drag.x, dy = e.clientY - drag.y;
    drag = { ...drag, x: e.clientX, y: e.clientY };
    if (drag.button === 2) view.windowBy(dx / 200, -dy / 200);
    else view.panBy(dx, dy);
  });
  screen.addEventListener("pointerup", () => { drag = undefined; });
  screen.addEventListener("dblclick", () => { if (!measuring) view.reset(); });

  // ---- start ----

  const wanted = Number(location.hash.slice(1));
  const first = location.hash && Number.isInteger(wanted) && wanted >= 0 && wanted < loop.frames ? wanted : loop.beats?.[0]?.ed ?? 0;
  cine.seek(first);
  status();
  press();
  element("#screen", HTMLElement).dataset["ready"] = "true";
  addEventListener("pagehide", () => cine.close());
}
