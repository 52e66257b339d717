import { Frames } from "./frames";
import { request } from "./page";
import type { Found, Loop, Study } from "./types";
import { View } from "./view";

/** One cell: a loop of one stage and view, and its beat in ms from the loop's start. */
interface Cell { loop: Loop; view: View; frames: Frames; from: number; length: number; times: number[]; frame: number; found: Map<number, Found> }

const assumedRate = 30;

/**
 * All stages side by side, a row for each view: one beat of each loop, played
 * in step. Every beat is stretched to the length of the longest, so that ED and
 * the phases after it are passed in all pictures at the same moment.
 */
export class Quad {
  private cells: Cell[] = [];
  private playing = false;
  private contour = false;
  /** Position in the beat, 0 to 1. */
  private phase = 0;
  private last = 0;

  constructor(private readonly root: HTMLElement, private readonly data: Study) {}

  get isOpen(): boolean { return !this.root.hidden; }

  open(): void {
    if (this.isOpen) return;
    this.root.hidden = false;
    for (const box of this.root.querySelectorAll<HTMLElement>("[data-cell]")) {
      const loop = this.data.loops[Number(box.dataset["cell"])];
      if (loop) this.cells.push(this.start(box, loop, Number(box.dataset["ed"])));
    }
    for (const c of this.cells) void this.outlines(c);
    this.phase = 0;
    this.toggle();
  }

  close(): void {
    this.playing = false;
    this.root.hidden = true;
    for (const c of this.cells) {
      c.frames.close();
      c.view.remove();
    }
    this.cells = [];
  }

  toggle(): void {
    this.playing = !this.playing;
    if (!this.playing) return;
    this.last = performance.now();
    requestAnimationFrame((now) => this.tick(now));
  }

  toggleContour(): void {
    this.contour = !this.contour;
    for (const c of this.cells) c.view.redraw();
  }

  private start(box: HTMLElement, loop: Loop, ed: number): Cell {
    const times = loop.times ?? Array.from({ length: loop.frames }, (_, i) => (i * 1000) / assumedRate);
    const beat = loop.beats?.find((b) => b.ed === ed);
    const end = beat && beat.next_ed > ed ? beat.next_ed : loop.frames - 1;
    const from = beat ? ed : 0;
    const cell: Cell = {
      loop, times, from: times[from] ?? 0, length: Math.max((times[end] ?? 0) - (times[from] ?? 0), 1), frame: from,
      view: new View(box, loop), frames: new Frames(this.data.study, loop), found: new Map((loop.found ?? []).map((f) => [f.frame, f])),
    };
    cell.view.ondraw = (ctx) => { if (this.contour) cell.view.found(ctx, cell.found.get(cell.frame), { contour: true, structures: false }); };
    cell.frames.onload = (i) => { if (i === cell.frame) cell.view.show(cell.frames.get(i)); };
    cell.frames.seek(from);
    return cell;
  }

  /** The study's page has the outlines of ED and ES; this gets all. */
  private async outlines(c: Cell): Promise<void> {
    try {
      const loop = await (await request(`/study/${this.data.study}/loop/${c.loop.loop}/data?run=${this.data.run}`)).json() as Loop;
      c.found = new Map((loop.found ?? []).map((f) => [f.frame, f]));
    } catch { /* the pictures play without */ }
  }

  private tick(now: number): void {
    if (!this.playing || !this.isOpen) return;
    const longest = Math.max(...this.cells.map((c) => c.length), 1);
    const next = (this.phase + Math.min(now - this.last, 250) / longest) % 1;
    this.last = now;
    const due = this.cells.map((c) => frameAt(c.times, c.from + next * c.length));
    // All wait for the one whose frame is not there yet: they stay in step.
    if (this.cells.every((c, i) => c.frames.get(due[i]!) || c.frames.isBroken(due[i]!))) {
      this.phase = next;
      this.cells.forEach((c, i) => {
        if (c.frame === due[i]) return;
        c.frame = due[i]!;
        c.view.show(c.frames.get(c.frame));
      });
    }
    this.cells.forEach((c, i) => c.frames.seek(due[i]!));
    this.root.dataset["phase"] = this.phase.toFixed(3);
    requestAnimationFrame((t) => this.tick(t));
  }
}

function frameAt(times: readonly number[], ms: number): number {
  let lo = 0, hi = times.length - 1;
  while (lo < hi) {
    const mid = (lo + hi + 1) >> 1;
    if ((times[mid] ?? 0) <= ms) lo = mid; else hi = mid - 1;
  }
  return lo;
}
