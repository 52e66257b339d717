package review

import (
	"testing"

	"github.com/echonode/echonode/conformance/review/browser"
)

// contrasts measures, in the page as Chromium has styled it, every text against
// what is behind it and the borders of fields against what is around them (WCAG
// 2.2, 1.4.3 and 1.4.11, level AA), and lists what is below.
const contrasts = `(() => {
	const parse = (s) => { const m = s.match(/rgba?\(([^)]+)\)/); if (!m) return [0, 0, 0, 0];
		const v = m[1].split(/[ ,\/]+/).map(Number); return [v[0], v[1], v[2], v.length > 3 ? v[3] : 1]; };
	const over = (top, below) => [0, 1, 2].map((i) => top[i] * top[3] + below[i] * (1 - top[3])).concat(1);
	const behind = (e) => {
		const layers = [];
		for (let n = e; n; n = n.parentElement) {
			if (n.classList?.contains("still")) { layers.push([0, 0, 0, 1]); break; } // a picture: its edge is black
			const c = parse(getComputedStyle(n).backgroundColor);
			if (c[3] > 0) layers.push(c);
			if (c[3] === 1) break;
		}
		return layers.reverse().reduce((below, top) => over(top, below), [255, 255, 255, 1]);
	};
	const luminance = (c) => { const l = c.slice(0, 3).map((v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
		return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2]; };
	const ratio = (a, b) => { const x = luminance(a), y = luminance(b); return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05); };
	const out = [];
	let texts = 0, least = 21;
	for (const e of document.querySelectorAll("body *")) {
		if (!e.getClientRects().length || e.closest("script, :disabled")) continue;
		const style = getComputedStyle(e);
		if ([...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) {
			const back = behind(e), r = ratio(over(parse(style.color), back), back);
			const size = parseFloat(style.fontSize), large = size >= 24 || size >= 18.66 && Number(style.fontWeight) >= 700;
			texts++;
			least = Math.min(least, r);
			if (r < (large ? 3 : 4.5)) out.push(e.tagName + "." + e.className + " " + r.toFixed(2) + ": " + e.textContent.trim().slice(0, 40));
		}
		if (e.matches("input:not([type=hidden]):not([type=checkbox]):not([type=range]), select, textarea") &&
			ratio(parse(style.borderTopColor), behind(e.parentElement)) < 3)
			out.push("border of " + e.tagName + "." + e.name + " " + ratio(parse(style.borderTopColor), behind(e.parentElement)).toFixed(2));
	}
	return {texts, least, below: [...new Set(out)]};
})()`

// contrast fails the test if anything on a page is hard to read.
func contrast(t *testing.T, b *browser.Browser, page string) {
	t.Helper()
	got := eval[struct {
		Texts int      `json:"texts"`
		Least float64  `json:"least"`
		Below []string `json:"below"`
	}](t, b, contrasts)
	if got.Texts < 5 {
		t.Errorf("%s: only %d texts", page, got.Texts)
	}
	for _, what := range got.Below {
		t.Errorf("%s: contrast of %s", page, what)
	}
	t.Logf("%s: %d texts, the least contrast %.2f", page, got.Texts, got.Least)
}
