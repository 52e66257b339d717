import { say } from "./page";
import type { Loop } from "./types";

/** Decoded pictures that are kept for one loop, bytes. */
const budget = 640 << 20;
const parallel = 6;

/**
 * The frames of a loop: fetched and decoded ahead of where the player is, and
 * kept as far as memory allows.
 */
export class Frames {
  private readonly kept = new Map<number, ImageBitmap>();
  private readonly loading = new Map<number, Promise<ImageBitmap | undefined>>();
  private readonly broken = new Set<number>();
  private readonly room: number;
  private at = 0;
  private closed = false;
  /** Bytes fetched, for those who measure. */
  bytes = 0;
  onload: (frame: number) => void = () => undefined;

  /** Of the frames named first, none waits for another one. */
  constructor(private readonly study: string, private readonly loop: Loop, private first: readonly number[] = []) {
    this.room = Math.max(8, Math.min(loop.frames, Math.floor(budget / (4 * Math.max(1, loop.rows * loop.columns)))));
  }

  get(i: number): ImageBitmap | undefined { return this.kept.get(i); }

  /** A frame that cannot be had is not waited for. */
  isBroken(i: number): boolean { return this.broken.has(i); }

  get ready(): number { return this.kept.size; }

  /** Moves to frame i: it is fetched first, then those that follow. */
  seek(i: number): void {
    this.at = i;
    this.fill();
  }

  close(): void {
    this.closed = true;
    for (const b of this.kept.values()) b.close();
    this.kept.clear();
  }

  private fill(): void {
    this.first = this.first.filter((i) => !this.kept.has(i) && !this.broken.has(i));
    for (const i of this.first) if (!this.loading.has(i) && this.loading.size < parallel) void this.load(i);
    if (this.first.length) return;
    for (let k = 0; k < this.room && this.loading.size < parallel; k++) {
      const i = (this.at + k) % this.loop.frames;
      if (!this.kept.has(i) && !this.loading.has(i) && !this.broken.has(i)) void this.load(i);
    }
  }

  private load(i: number): Promise<ImageBitmap | undefined> {
    const p = this.fetch(i).catch(() => undefined).then((bitmap) => {
      this.loading.delete(i);
      if (!bitmap) {
        this.broken.add(i);
      } else if (this.closed) {
        bitmap.close();
        return undefined;
      } else {
        this.kept.set(i, bitmap);
        this.evict();
        this.onload(i);
      }
      if (!this.closed) this.fill();
      return bitmap;
    });
    this.loading.set(i, p);
    return p;
  }

  private async fetch(i: number): Promise<ImageBitmap | undefined> {
    const response = await fetch(`/study/${this.study}/loop/${this.loop.loop}/frame/${i}?v=${this.loop.version}`, { credentials: "same-origin" });
    // Under the same UIDs is another object than this page is of.
    if (response.status === 410 && !this.closed) say((await response.text()).trim(), true);
    if (!response.ok) return undefined;
    const blob = await response.blob();
    this.bytes += blob.size;
    return createImageBitmap(blob);
  }

  /** Frees what lies farthest behind. */
  private evict(): void {
    while (this.kept.size > this.room) {
      let worst = -1, distance = -1;
      for (const i of this.kept.keys()) {
        const d = (i - this.at + this.loop.frames) % this.loop.frames;
        if (d > distance) { worst = i; distance = d; }
      }
      this.kept.get(worst)?.close();
      this.kept.delete(worst);
    }
  }
}
