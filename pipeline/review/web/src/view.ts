import { wallPoints } from "./edit";
import type { Found, Keypoint, Loop, Point } from "./types";
import { number, px } from "./page";

export interface Shown { contour: boolean; structures: boolean }

/** Colours of what is drawn, readable on ultrasound. */
export const colours = {
  contour: "#3ddc84", edited: "#ffb347", structures: "#7aa2f7", axis: "#e0e6ed", handle: "#ffffff", caliper: "#ffe066", ghost: "#8b98a5",
};

/**
 * A picture with drawings on it. The picture and the drawings are canvases of
 * their own, so that window and level (a filter of the compositor) leave the
 * drawings alone. Positions are source pixels, as in Loop.
 */
export class View {
  readonly picture: HTMLCanvasElement;
  readonly drawing: HTMLCanvasElement;
  private zoom = 1;
  private pan: Point = [0, 0];
  private bitmap: ImageBitmap | undefined;
  private brightness = 1;
  private contrast = 1;
  /** Draws over the picture; the context is in CSS pixels of the view. */
  ondraw: (ctx: CanvasRenderingContext2D) => void = () => undefined;

  constructor(readonly root: HTMLElement, public loop: Loop) {
    this.picture = document.createElement("canvas");
    this.drawing = document.createElement("canvas");
    this.picture.className = "picture";
    this.drawing.className = "drawing";
    root.prepend(this.picture, this.drawing);
    new ResizeObserver(() => this.redraw()).observe(root);
  }

  /** Takes the canvases away. */
  remove(): void {
    this.picture.remove();
    this.drawing.remove();
  }

  /** Scale from source pixels to CSS pixels, x and y. */
  get scale(): Point {
    const aspect = this.loop.pixel[0] / this.loop.pixel[1];
    const fit = Math.min(this.root.clientWidth / (this.loop.columns * aspect), this.root.clientHeight / this.loop.rows);
    return [fit * aspect * this.zoom, fit * this.zoom];
  }

  private get offset(): Point {
    const [sx, sy] = this.scale;
    return [(this.root.clientWidth - this.loop.columns * sx) / 2 + this.pan[0], (this.root.clientHeight - this.loop.rows * sy) / 2 + this.pan[1]];
  }

  /** Where a source position is in the view. The picture's pixel (0,0) has its centre at (0,0). */
  toView(p: Point): Point {
    const [sx, sy] = this.scale, [ox, oy] = this.offset;
    return [ox + (p[0] + 0.5) * sx, oy + (p[1] + 0.5) * sy];
  }

  toSource(p: Point): Point {
    const [sx, sy] = this.scale, [ox, oy] = this.offset;
    return [(p[0] - ox) / sx - 0.5, (p[1] - oy) / sy - 0.5];
  }

  /** The source position under the mouse. */
  at(event: MouseEvent): Point {
    const box = this.root.getBoundingClientRect();
    return this.toSource([event.clientX - box.left, event.clientY - box.top]);
  }

  zoomBy(factor: number, around?: MouseEvent): void {
    const box = this.root.getBoundingClientRect();
    const centre: Point = around ? [around.clientX - box.left, around.clientY - box.top] : [box.width / 2, box.height / 2];
    const held = this.toSource(centre);
    this.zoom = Math.min(16, Math.max(1, this.zoom * factor));
    if (this.zoom === 1) this.pan = [0, 0];
    else {
      const now = this.toView(held);
      this.pan = [this.pan[0] + centre[0] - now[0], this.pan[1] + centre[1] - now[1]];
    }
    this.redraw();
  }

  panBy(dx: number, dy: number): void {
    if (this.zoom === 1) return;
    this.pan = [this.pan[0] + dx, this.pan[1] + dy];
    this.redraw();
  }

  windowBy(dContrast: number, dBrightness: number): void {
    this.contrast = Math.min(4, Math.max(0.25, this.contrast * Math.exp(dContrast)));
    this.brightness = Math.min(4, Math.max(0.25, this.brightness * Math.exp(dBrightness)));
    this.filter();
  }

  reset(): void {
    this.zoom = this.contrast = this.brightness = 1;
    this.pan = [0, 0];
    this.filter();
    this.redraw();
  }

  private filter(): void {
    this.picture.style.filter = this.contrast === 1 && this.brightness === 1 ? "" : `brightness(${this.brightness}) contrast(${this.contrast})`;
  }

  show(bitmap: ImageBitmap | undefined): void {
    this.bitmap = bitmap;
    this.redraw();
  }

  redraw(): void {
    const w = this.root.clientWidth, h = this.root.clientHeight, dpr = devicePixelRatio || 1;
    if (!w || !h) return;
    for (const c of [this.picture, this.drawing]) {
      const cw = Math.round(w * dpr), ch = Math.round(h * dpr);
      if (c.width !== cw || c.height !== ch) { c.width = cw; c.height = ch; }
    }
    const p = this.picture.getContext("2d");
    const d = this.drawing.getContext("2d");
    if (!p || !d) return;
    p.setTransform(dpr, 0, 0, dpr, 0, 0);
    p.fillStyle = "#000";
    p.fillRect(0, 0, w, h);
    if (this.bitmap && this.bitmap.width > 0) {
      const [sx, sy] = this.scale, [ox, oy] = this.offset;
      p.imageSmoothingQuality = "high";
      p.drawImage(this.bitmap, ox, oy, this.loop.columns * sx, this.loop.rows * sy);
    }
    d.setTransform(dpr, 0, 0, dpr, 0, 0);
    d.clearRect(0, 0, w, h);
    this.ondraw(d);
  }

  // ---- drawing ----

  path(ctx: CanvasRenderingContext2D, points: readonly Point[], closed: boolean): void {
    ctx.beginPath();
    points.forEach((q, i) => {
      const [x, y] = this.toView(q);
      if (i === 0) ctx.moveTo(x, y); else ctx.lineTo(x, y);
    });
    if (closed) ctx.closePath();
  }

  line(ctx: CanvasRenderingContext2D, points: readonly Point[], colour: string, width: number, closed: boolean, dash: number[] = []): void {
    this.path(ctx, points, closed);
    width = px(width);
    ctx.setLineDash(dash.map(px));
    ctx.lineJoin = "round";
    // A dark rim keeps the line visible on bright walls.
    ctx.strokeStyle = "rgba(0,0,0,.55)";
    ctx.lineWidth = width + 2;
    ctx.stroke();
    ctx.strokeStyle = colour;
    ctx.lineWidth = width;
    ctx.stroke();
    ctx.setLineDash([]);
  }

  dot(ctx: CanvasRenderingContext2D, p: Point, colour: string, radius: number): void {
    const [x, y] = this.toView(p);
    ctx.beginPath();
    ctx.arc(x, y, px(radius), 0, 2 * Math.PI);
    ctx.fillStyle = colour;
    ctx.strokeStyle = "rgba(0,0,0,.8)";
    ctx.lineWidth = 1;
    ctx.fill();
    ctx.stroke();
  }

  /** What was found in a frame. */
  found(ctx: CanvasRenderingContext2D, f: Found | undefined, shown: Shown): void {
    if (!f) return;
    if (shown.structures) {
      for (const s of Object.values(f.structures ?? {})) this.line(ctx, s, colours.structures, 1, true, [4, 4]);
    }
    if (!shown.contour) return;
    // What is not measured with is grey and dashed, as on the overlays.
    const measured = this.loop.status === "analysed";
    if (f.contour && f.contour.length > 2 && !measured) {
      this.line(ctx, f.contour, colours.ghost, 1.5, true, [6, 5]);
    } else if (f.contour && f.contour.length > 2) {
      if (f.network) this.line(ctx, f.network, colours.ghost, 1, true, [3, 3]);
      this.line(ctx, f.contour, f.network ? colours.edited : colours.contour, 2, true);
      if (f.axis) {
        const [apex, a, b] = f.axis;
        this.line(ctx, [apex, [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]], colours.axis, 1, false, [2, 4]);
        for (const q of f.axis) this.dot(ctx, q, colours.axis, 3);
      }
    } else {
      if (this.loop.view === "PLAX") {
        if (f.before) this.walls(ctx, f.before, colours.ghost, false);
        this.walls(ctx, f.points, f.before ? colours.edited : colours.contour, true);
      }
      for (const k of f.points ?? []) this.dot(ctx, [k.x, k.y], colours.axis, 3);
    }
  }

  /** Septum, cavity and posterior wall of the parasternal view, as lines between their points, with their lengths. */
  walls(ctx: CanvasRenderingContext2D, found: readonly Keypoint[] | readonly Point[] | undefined, colour: string, named: boolean): void {
    const points = found?.map((p): Point => "x" in p ? [p.x, p.y] : p) ?? [];
    if (points.length !== wallPoints.length) return;
    this.line(ctx, points, colour, named ? 2 : 1, false, named ? [] : [3, 3]);
    if (!named) return;
    ctx.font = `600 ${px(13)}px system-ui`;
    ctx.lineWidth = 3;
    ctx.strokeStyle = "#000";
    ctx.fillStyle = colour;
    for (let i = 1; i < points.length; i++) {
      const a = points[i - 1]!, b = points[i]!, [x, y] = this.toView([(a[0] + b[0]) / 2, (a[1] + b[1]) / 2]);
      ctx.strokeText(this.length(a, b), x + 12, y + 4);
      ctx.fillText(this.length(a, b), x + 12, y + 4);
    }
  }

  /** Length between two source positions in mm, or in pixels where the loop is not calibrated. */
  length(a: Point, b: Point): string {
    const dx = (b[0] - a[0]) * this.loop.pixel[0], dy = (b[1] - a[1]) * this.loop.pixel[1];
    const l = Math.hypot(dx, dy);
    return this.loop.mm ? `${number(l / 10, 2)} cm` : `${number(l, 0)} px`;
  }
}
