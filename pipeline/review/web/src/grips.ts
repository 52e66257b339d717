import { Outline, Walls, type Handle, type Shape } from "./edit";
import { px } from "./page";
import type { Found, Point } from "./types";
import { colours, type Shown, type View } from "./view";

/** How near to a handle the mouse takes hold of it, CSS pixels. */
const reach = 14;

/**
 * Lets a reader drag the outline, or the wall points, of the frame that a view
 * shows: draws it with its handles, and says when a drag is done.
 */
export class Grips {
  shape: Shape | undefined;
  private held: { handle: Handle; from: Shape; start: Point; moved: boolean } | undefined;
  /** The shape after a drag. */
  ondone: (shape: Shape) => void = () => undefined;

  constructor(private readonly view: View) {}

  get holds(): boolean { return this.held !== undefined; }

  /** Takes what may be dragged in a frame; nothing where it has no contour. */
  take(found: Found | undefined): void {
    const { columns, rows, view } = this.view.loop;
    this.held = undefined;
    if (found && view === "PLAX") this.shape = new Walls(found.frame, found, [columns, rows]);
    else this.shape = found?.contour ? new Outline(found.frame, found, [columns, rows]) : undefined;
  }

  /** Draws the outline, and its handles where they are wanted. */
  draw(ctx: CanvasRenderingContext2D, found: Found, shown: Shown, handles: boolean): void {
    const { view, shape } = this;
    if (shape instanceof Walls) {
      const edited = this.held !== undefined || found.before !== undefined;
      if (edited) view.walls(ctx, found.before ?? found.points, colours.ghost, false);
      view.walls(ctx, shape.points, edited ? colours.edited : colours.contour, true);
      if (handles) for (const h of shape.handles) view.dot(ctx, h.at, colours.caliper, 5);
      return;
    }
    if (!(shape instanceof Outline)) { view.found(ctx, found, shown); return; }
    const outline = shape;
    if (shown.structures) view.found(ctx, found, { contour: false, structures: true });
    const before = found.network ?? found.contour;
    const edited = this.held !== undefined || found.network !== undefined;
    if (before && edited) view.line(ctx, before, colours.ghost, 1, true, [3, 3]);
    view.line(ctx, outline.contour, edited ? colours.edited : colours.contour, 2, true);
    const { apex, septal, lateral } = outline;
    if (apex && septal && lateral) view.line(ctx, [apex, [(septal[0] + lateral[0]) / 2, (septal[1] + lateral[1]) / 2]], colours.axis, 1, false, [2, 4]);
    if (!handles) return;
    for (const h of outline.handles) view.dot(ctx, h.at, h.kind === "wall" ? colours.handle : colours.caliper, h.kind === "wall" ? 4 : 6);
  }

  /** The handle under the mouse. */
  under(e: MouseEvent): Handle | undefined {
    const box = this.view.root.getBoundingClientRect();
    let best: Handle | undefined, distance = px(reach);
    for (const h of this.shape?.handles ?? []) {
      const [x, y] = this.view.toView(h.at);
      const d = Math.hypot(x - (e.clientX - box.left), y - (e.clientY - box.top));
      if (d < distance) { best = h; distance = d; }
    }
    return best;
  }

  /** Takes hold of the handle under the mouse, if there is one. */
  start(e: PointerEvent): boolean {
    const handle = e.button === 0 ? this.under(e) : undefined;
    if (!handle || !this.shape) return false;
    this.view.root.setPointerCapture(e.pointerId);
    this.held = { handle, from: this.shape.copy(), start: this.view.at(e), moved: false };
    return true;
  }

  move(e: PointerEvent): boolean {
    if (!this.held || !this.shape) return false;
    const p = this.view.at(e);
    this.held.moved ||= Math.hypot(p[0] - this.held.start[0], p[1] - this.held.start[1]) * this.view.scale[1] > 2;
    if (!this.held.moved) return true;
    this.shape.drag(this.held.from, this.held.handle, [p[0] - this.held.start[0], p[1] - this.held.start[1]]);
    this.view.redraw();
    return true;
  }

  /**
   * Ends a drag. A click that moved nothing leaves an outline as it is, and is
   * false; wall points it confirms, since only those that a reader set are measured.
   */
  end(): boolean {
    if (!this.held || !this.shape) return false;
    const { moved } = this.held;
    this.held = undefined;
    if (!moved && !(this.shape instanceof Walls)) return false;
    this.ondone(this.shape);
    return true;
  }
}
