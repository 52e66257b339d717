// What all pages share: texts, requests, elements, keys.

const texts: Record<string, string> = JSON.parse(document.getElementById("texts")?.textContent ?? "{}");

/** The text of a key, its arguments put in for %s in turn. */
export function t(key: string, ...args: (string | number)[]): string {
  let i = 0;
  return (texts[key] ?? key).replace(/%[sd]/g, () => String(args[i++] ?? ""));
}

/** A length for drawings, CSS pixels: as large beside the text as it is where text has its usual size. */
export function px(n: number): number {
  return n * parseFloat(getComputedStyle(document.documentElement).fontSize) / 15;
}

/** A number in the way of the page's language. */
export function number(v: number, decimals: number): string {
  return v.toLocaleString(document.documentElement.lang, { minimumFractionDigits: decimals, maximumFractionDigits: decimals, useGrouping: false });
}

export function element<T extends Element>(selector: string, type: new () => T, root: ParentNode = document): T {
  const e = root.querySelector(selector);
  if (!(e instanceof type)) throw new Error(`${selector} is not on the page`);
  return e;
}

export function maybe<T extends Element>(selector: string, type: new () => T, root: ParentNode = document): T | undefined {
  const e = root.querySelector(selector);
  return e instanceof type ? e : undefined;
}

/** JSON that the server put into the page. */
export function embedded<T>(id: string): T {
  return JSON.parse(document.getElementById(id)?.textContent ?? "null") as T;
}

export class Refused extends Error {
  constructor(readonly status: number, message: string) { super(message); }
}

/** A request of the page. Without a session the browser goes to the sign-in. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  if (init.method && init.method !== "GET") headers.set("X-CSRF-Token", csrf());
  const response = await fetch(path, { ...init, headers, credentials: "same-origin" });
  if (response.status === 401) {
    signIn();
    throw new Refused(401, t("js.signedout"));
  }
  if (!response.ok) throw new Refused(response.status, (await response.text()).trim());
  return response;
}

export async function post(path: string, body: unknown): Promise<Response> {
  return request(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) });
}

export function csrf(): string {
  return element('meta[name="csrf"]', HTMLMetaElement).content;
}

export function signIn(): void {
  location.assign("/login?next=" + encodeURIComponent(location.pathname));
}

let toastTimer = 0;

/** A message at the foot of the page; errors stay longer. */
export function say(message: string, error = false): void {
  const e = element("#message", HTMLElement);
  e.textContent = message;
  e.classList.toggle("error", error);
  e.hidden = false;
  clearTimeout(toastTimer);
  toastTimer = window.setTimeout(() => { e.hidden = true; }, error ? 12000 : 4000);
}

/** A message that nobody asked for: it takes the place of no answer that says what went wrong. */
export function mention(message: string): void {
  const e = element("#message", HTMLElement);
  if (e.hidden || !e.classList.contains("error")) say(message);
}

export function explain(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** A control that was used with the mouse gives the keys back to the page: Space plays, and does not press it again. */
function giveKeysBack(event: Event): void {
  const at = event.target instanceof Element ? event.target.closest<HTMLElement>("button, select, input[type=checkbox], input[type=range]") : null;
  if (at && !at.matches(":focus-visible") && !at.closest("dialog, form")) at.blur();
}

/** Calls the action of a key, unless something is being typed. */
export function onKeys(actions: (key: string, event: KeyboardEvent) => boolean): void {
  for (const kind of ["click", "change"]) document.addEventListener(kind, giveKeysBack);
  document.addEventListener("keydown", (event) => {
    const at = event.target;
    if (at instanceof HTMLInputElement || at instanceof HTMLTextAreaElement || at instanceof HTMLSelectElement) return;
    if (event.ctrlKey || event.altKey || event.metaKey) {
      if (!(event.ctrlKey && event.key.toLowerCase() === "z")) return;
    }
    // Space and Enter belong to the button that has the focus.
    if ((event.key === " " || event.key === "Enter") && at instanceof Element && at.closest("button, a, summary")) return;
    if (document.querySelector("dialog[open]")) return;
    if (actions(event.key.length === 1 ? event.key.toLowerCase() : event.key, event)) event.preventDefault();
  });
}

/** How long a page waits until it listens again to a server that refused it, ms. */
const listenAgain = 10_000;

/**
 * Listens for studies that change; an empty list is everything. Of the study that a page shows it also hears what came of it before
 * it listened. Only while the page can be seen: where the server speaks HTTP/1.1, a browser has six connections to it for all its
 * pages together, and pages behind others would keep them from those in front.
 */
export function onChanges(changed: (studies: string[]) => void, shown?: { study: string; run: string }): void {
  const path = "/events" + (shown ? `?study=${encodeURIComponent(shown.study)}&run=${shown.run}` : "");
  let source: EventSource | undefined;
  let missed = document.hidden; // something may have happened while nobody listened
  let again = 0;
  const stop = (): void => {
    clearTimeout(again);
    source?.close();
    source = undefined;
    missed = true;
  };
  const listen = (): void => {
    if (source || document.hidden) return;
    clearTimeout(again);
    const s = source = new EventSource(path);
    s.addEventListener("studies", (e) => changed(JSON.parse((e as MessageEvent<string>).data) as string[]));
    s.addEventListener("signed-out", () => { stop(); signIn(); });
    s.addEventListener("open", () => { if (missed) { missed = false; changed([]); } });
    s.addEventListener("error", () => {
      missed = true;
      if (s.readyState !== EventSource.CLOSED) return; // the browser tries again by itself
      stop();
      again = window.setTimeout(listen, listenAgain);
    });
  };
  document.addEventListener("visibilitychange", () => { if (document.hidden) stop(); else listen(); });
  addEventListener("pagehide", stop);
  addEventListener("pageshow", listen);
  listen();
}

/** A message that the page before left for this one. */
export function leftMessage(): void {
  const message = sessionStorage.getItem("say");
  if (message) {
    sessionStorage.removeItem("say");
    say(message);
  }
}
