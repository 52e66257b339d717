import { element, explain, onChanges, onKeys, post, say } from "./page";

interface Query {
  search: string; state: string; flag: string; unreviewed: boolean; from: string; to: string; order: string; ascending: boolean; offset: number;
}

/** The worklist: searches, pages, and keeps itself up to date. */
export function startWorklist(): void {
  const form = element("#filter", HTMLFormElement);
  const rows = element("#rows", HTMLElement);
  let order = "time", ascending = false, offset = 0;
  let generation = 0;

  const query = (): Query => {
    const f = new FormData(form);
    const text = (name: string): string => String(f.get(name) ?? "");
    return {
      search: text("search"), state: text("state"), flag: text("flag"), unreviewed: f.has("unreviewed"),
      from: text("from"), to: text("to"), order, ascending, offset,
    };
  };

  async function load(): Promise<void> {
    const mine = ++generation;
    const q = query();
    try {
      const html = await (await post("/worklist", q)).text();
      if (mine !== generation) return; // a later one is on its way
      const focused = document.activeElement?.closest("tr")?.dataset["study"];
      // The fragment comes from our own templates, which escape what they show.
      rows.innerHTML = html;
      if (focused) rows.querySelector<HTMLElement>(`tr[data-study="${CSS.escape(focused)}"] a`)?.focus();
      // A search may name a patient: it stays out of the address.
      history.replaceState(q, "");
    } catch (e) {
      say(explain(e), true);
    }
  }

  // The calendar is the browser's, and speaks its language; the field is in the page's.
  for (const calendar of form.querySelectorAll<HTMLInputElement>("[data-calendar]")) {
    const name = calendar.dataset["calendar"] ?? "";
    const field = element(`#filter [name="${name}"]`, HTMLInputElement);
    element(`#filter [data-pick="${name}"]`, HTMLButtonElement).addEventListener("click", () => calendar.showPicker());
    calendar.addEventListener("change", () => {
      const [y, m, d] = calendar.value.split("-");
      field.value = document.documentElement.lang === "de" && d ? `${d}.${m}.${y}` : calendar.value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
    });
  }

  let typing = 0;
  form.addEventListener("input", (e) => {
    if (e.target instanceof HTMLInputElement && (e.target.type === "date" || !e.target.validity.valid)) return; // half a date
    offset = 0;
    clearTimeout(typing);
    typing = window.setTimeout(() => void load(), 150);
  });
  form.addEventListener("submit", (e) => {
    if (e.submitter?.hasAttribute("data-export")) return; // the browser saves the file that comes
    e.preventDefault();
    offset = 0;
    void load();
  });
  form.addEventListener("reset", () => { offset = 0; order = "time"; ascending = false; setTimeout(() => void load()); });

  rows.addEventListener("click", (e) => {
    if (!(e.target instanceof Element)) return;
    const button = e.target.closest<HTMLElement>("[data-order], [data-offset]");
    if (button) {
      const by = button.dataset["order"];
      if (by) {
        ascending = by === order ? !ascending : by === "name";
        order = by;
        offset = 0;
      } else {
        offset = Number(button.dataset["offset"]);
      }
      void load();
      return;
    }
    const link = e.target.closest("tr")?.querySelector("a");
    if (link && !e.target.closest("a")) link.click();
  });

  onKeys((key) => {
    const links = [...rows.querySelectorAll<HTMLAnchorElement>("tbody a")];
    const at = links.indexOf(document.activeElement as HTMLAnchorElement);
    switch (key) {
      case "/": element("#filter [name=search]", HTMLInputElement).focus(); return true;
      case "ArrowDown": links[Math.min(at + 1, links.length - 1)]?.focus(); return true;
      case "ArrowUp": links[Math.max(at - 1, 0)]?.focus(); return true;
      case "PageDown": case "PageUp": {
        const button = rows.querySelector<HTMLElement>(key === "PageDown" ? "[data-next]" : "[data-prev]");
        button?.click();
        return button !== null;
      }
    }
    return false;
  });

  // Several changes in a moment are one look.
  let due = 0;
  onChanges(() => {
    if (due) return;
    due = window.setTimeout(() => { due = 0; void load(); }, 400);
  });

  const before = history.state as Query | null;
  if (before && typeof before.search === "string") {
    for (const [name, v] of Object.entries({ search: before.search, state: before.state, flag: before.flag, from: before.from, to: before.to })) {
      const field = form.elements.namedItem(name);
      if (field instanceof HTMLInputElement || field instanceof HTMLSelectElement) field.value = v;
    }
    element("#filter [name=unreviewed]", HTMLInputElement).checked = before.unreviewed;
    order = before.order; ascending = before.ascending; offset = before.offset;
    void load();
  }
}
