import uPlot from "../vendor/uplot/uPlot.js";
import type { Loop } from "./types";
import { number, px, t } from "./page";

/** As many decimals as tell the marks of an axis apart. */
function decimals(marks: number[]): number {
  const step = Math.abs((marks[1] ?? 0) - (marks[0] ?? 0));
  return step > 0 && step < 1 ? Math.min(4, Math.ceil(-Math.log10(step) - 1e-9)) : 0;
}

/** The cavity over time, with beats and R waves; a click or drag goes to a frame. */
export class CurvePlot {
  private readonly plot: uPlot;
  private frame = 0;
  private loop: Loop;
  onseek: (frame: number) => void = () => undefined;

  constructor(private readonly root: HTMLElement, loop: Loop, private readonly times: number[]) {
    this.loop = loop;
    const curve = loop.curve;
    const text = "#aab4be", grid = "#2a3138";
    const axis = { stroke: text, grid: { stroke: grid, width: 1 }, ticks: { stroke: grid, width: 1 }, font: `${px(12)}px system-ui` };
    this.plot = new uPlot({
      width: Math.max(root.clientWidth, 50), height: Math.max(root.clientHeight, 50),
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, y: false, points: { show: false } },
      scales: { x: { time: false }, y: { range: (_u, lo, hi) => { const pad = Math.max((hi - lo) * 0.2, 1e-6); return [Math.max(0, lo - pad), hi + pad]; } } },
      axes: [
        { ...axis, size: px(34), space: px(60), values: (_u, v) => v.map((x) => `${number(x, decimals(v))} s`) },
        { ...axis, size: px(52), values: (_u, v) => v.map((x) => number(x, decimals(v))) },
      ],
      series: [{}, { stroke: "#3ddc84", width: 2, points: { show: true, size: 4, fill: "#3ddc84" } }],
      hooks: { drawClear: [(u) => this.under(u)], draw: [(u) => this.over(u)] },
    }, this.data(curve?.values ?? []), root);
    const over = this.plot.over;
    let dragging = false;
    const go = (e: MouseEvent): void => this.onseek(this.plot.posToIdx(e.clientX - over.getBoundingClientRect().left));
    over.addEventListener("mousedown", (e) => { if (e.button === 0) { dragging = true; go(e); } });
    addEventListener("mousemove", (e) => { if (dragging) go(e); });
    addEventListener("mouseup", () => { dragging = false; });
    new ResizeObserver(() => {
      if (root.clientWidth > 0 && root.clientHeight > 0) this.plot.setSize({ width: root.clientWidth, height: root.clientHeight });
    }).observe(root);
    root.title = curve ? `${t("js.curve." + curve.kind)} (${curve.unit})` : "";
  }

  private data(values: (number | null)[]): uPlot.AlignedData {
    return [this.times.map((ms) => ms / 1000), values];
  }

  /** Shows another state of the same loop. */
  update(loop: Loop): void {
    this.loop = loop;
    this.plot.setData(this.data(loop.curve?.values ?? []));
  }

  seek(frame: number): void {
    this.frame = frame;
    this.plot.redraw(false);
  }

  private x(u: uPlot, frame: number): number { return u.valToPos((this.times[frame] ?? 0) / 1000, "x", true); }

  /** Beats as bands, R waves as lines, behind the curve. */
  private under(u: uPlot): void {
    const { ctx } = u, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    (this.loop.beats ?? []).forEach((b, i) => {
      const end = b.next_ed >= 0 ? b.next_ed : this.times.length - 1;
      ctx.fillStyle = b.rejected ? "rgba(255,123,114,.13)" : i % 2 ? "rgba(122,162,247,.10)" : "rgba(122,162,247,.18)";
      ctx.fillRect(this.x(u, b.ed), top, this.x(u, end) - this.x(u, b.ed), height);
    });
    ctx.strokeStyle = "#ff7b72";
    ctx.setLineDash([4, 4]);
    ctx.lineWidth = devicePixelRatio;
    for (const r of this.loop.rwaves ?? []) {
      const x = u.valToPos(r / 1000, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, top);
      ctx.lineTo(x, top + height);
      ctx.stroke();
    }
    ctx.restore();
  }

  /** ED and ES, and where the player is. */
  private over(u: uPlot): void {
    const { ctx } = u, { top, height } = u.bbox, values = this.loop.curve?.values ?? [];
    ctx.save();
    ctx.font = `600 ${px(11) * devicePixelRatio}px system-ui`;
    ctx.textAlign = "center";
    for (const b of this.loop.beats ?? []) {
      for (const [name, f] of [["ED", b.ed], ["ES", b.es]] as const) {
        const v = values[f];
        if (v == null) continue;
        const x = this.x(u, f), y = u.valToPos(v, "y", true);
        ctx.fillStyle = b.rejected ? "#ff7b72" : "#ffe066";
        ctx.beginPath();
        ctx.arc(x, y, 4 * devicePixelRatio, 0, 2 * Math.PI);
        ctx.fill();
        ctx.fillText(name, x, name === "ED" ? y - px(8) * devicePixelRatio : y + px(16) * devicePixelRatio);
      }
    }
    const x = this.x(u, this.frame);
    ctx.strokeStyle = "#ffffff";
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.restore();
  }

  get height(): number { return this.root.clientHeight; }
}
