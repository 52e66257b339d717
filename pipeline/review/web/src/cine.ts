import { Frames } from "./frames";
import type { Loop } from "./types";

/** Frames per second of a loop that does not say when its frames were taken. */
const assumedRate = 30;

/**
 * Plays a loop at its own speed: the frame of the moment is shown, however fast
 * the screen is; a frame that is not there yet holds the clock.
 */
export class Cine {
  readonly frames: Frames;
  readonly times: number[];
  readonly period: number;
  private current = 0;
  private playing = false;
  private speed_ = 1;
  private clock = 0;
  private last = 0;
  private shown = -1;
  /** Frames that were due and never shown, for those who measure. */
  dropped = 0;
  onframe: (i: number) => void = () => undefined;
  onstate: () => void = () => undefined;

  constructor(study: string, readonly loop: Loop, first: readonly number[] = [0]) {
    this.frames = new Frames(study, loop, first);
    const n = loop.frames;
    this.times = loop.times ?? Array.from({ length: n }, (_, i) => (i * 1000) / assumedRate);
    const step = n > 1 ? ((this.times[n - 1] ?? 0) - (this.times[0] ?? 0)) / (n - 1) : 1000 / assumedRate;
    this.period = (this.times[n - 1] ?? 0) + step;
    this.frames.onload = (i) => { if (i === this.current) this.show(i); };
    this.frames.seek(first[0] ?? 0);
  }

  get frame(): number { return this.current; }
  get isPlaying(): boolean { return this.playing; }
  get speed(): number { return this.speed_; }
  set speed(v: number) { this.speed_ = v; this.onstate(); }

  play(): void {
    if (this.playing || this.loop.frames < 2) return;
    this.playing = true;
    this.clock = this.times[this.current] ?? 0;
    this.last = performance.now();
    this.shown = this.current;
    requestAnimationFrame((now) => this.tick(now));
    this.onstate();
  }

  pause(): void {
    if (!this.playing) return;
    this.playing = false;
    this.onstate();
  }

  toggle(): void { if (this.playing) this.pause(); else this.play(); }

  seek(i: number): void {
    const n = this.loop.frames;
    i = ((i % n) + n) % n;
    this.clock = this.times[i] ?? 0;
    this.shown = i;
    this.show(i);
  }

  step(d: number): void {
    this.pause();
    this.seek(this.current + d);
  }

  close(): void {
    this.playing = false;
    this.frames.close();
  }

  private show(i: number): void {
    this.current = i;
    this.frames.seek(i);
    this.onframe(i);
  }

  private tick(now: number): void {
    if (!this.playing) return;
    const advanced = this.clock + Math.min(now - this.last, 250) * this.speed_;
    this.last = now;
    const due = this.frameAt(advanced % this.period);
    if (due === this.current) {
      this.clock = advanced % this.period;
    } else if (this.frames.get(due) || this.frames.isBroken(due)) {
      this.clock = advanced % this.period;
      const passed = (due - this.shown + this.loop.frames) % this.loop.frames;
      // Faster than the screen, frames are passed over by intention.
      if (passed > 1 && this.speed_ <= 1) this.dropped += passed - 1;
      this.shown = due;
      this.show(due);
    } else {
      this.frames.seek(due);
    }
    requestAnimationFrame((t) => this.tick(t));
  }

  private frameAt(ms: number): number {
    let lo = 0, hi = this.loop.frames - 1;
    while (lo < hi) {
      const mid = (lo + hi + 1) >> 1;
      if ((this.times[mid] ?? 0) <= ms) lo = mid; else hi = mid - 1;
    }
    return lo;
  }
}
