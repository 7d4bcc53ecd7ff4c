// The list of customers, and finding one. Rows stay where they are while one looks at them.

import { get } from "/static/api.js";
import { leave, shownId } from "/static/customer.js";
import { watch } from "/static/reading.js";
import { dotted, el, isLong, said, span } from "/static/words.js";

const PAUSE = 150; // ms without a key before a search
const AGAIN = 15_000; // ms between two looks at the list while nothing is typed
const found = document.getElementById("found");
const count = document.getElementById("count");
const list = document.getElementById("list");
const { reading } = watch(list);
const more = document.getElementById("more");
const words = document.getElementById("words");
let asked = null, next = null, timer = null;

/** Fill the list, and go on doing so. */
export function startSearch() {
  words.addEventListener("input", () => {
    uncover();
    clearTimeout(timer);
    timer = setTimeout(search, PAUSE);
  });
  words.form?.addEventListener("submit", (event) => event.preventDefault());
  more.addEventListener("click", () => search({ page: next }));
  setInterval(() => {
    if (document.visibilityState === "visible" && found.children.length <= 20) refresh();
  }, AGAIN);
  return search();
}

/** Who types wants to see what is found; on a narrow screen the customer stands over the list. */
function uncover() {
  if (shownId() === null || list.checkVisibility()) return;
  leave();
  history.pushState(null, "", "#/");
}

/** Look again, unless somebody looks at the list. */
export const refresh = () => reading() || search();

/** Mark who is shown. */
export function mark(id) {
  for (const link of found.querySelectorAll("a")) {
    if (link.hash === `#/${encodeURIComponent(id ?? "")}`) link.setAttribute("aria-current", "true");
    else link.removeAttribute("aria-current");
  }
}

async function search({ page = "" } = {}) {
  asked?.abort();
  asked = new AbortController();
  const query = new URLSearchParams({ q: words.value.trim(), limit: 20, ...(page && { after: page }) });
  let answer;
  try {
    answer = await get(`/v1/customers?${query}`, asked.signal);
  } catch {
    return; // another search was begun, or the hub is away: the feed says so
  }
  if (!answer) return;
  const rows = answer.customers.map(row);
  if (page) found.append(...rows);
  else found.replaceChildren(...rows);
  mark(shownId());
  next = answer.next;
  more.hidden = !next;
  count.textContent = found.children.length ? "" : words.value.trim() ? "Nobody found." : "No customers yet.";
}

function row(customer) {
  const name = customer.name ?? customer.phone ?? customer.email ?? "No name";
  const ms = Date.now() - Date.parse(customer.waiting_since);
  const waits = customer.waiting_since && el("span", { class: isLong(ms) ? "long" : null }, `waiting ${span(ms)}`);
  const shared = customer.shared && `${customer.shared} people use this number`;
  const place = customer.organization ?? (customer.name && (customer.email ?? customer.phone));
  const about = dotted(place && said(place), shared, waits,
    !waits && customer.open && `${customer.open} open`);
  return el("li", { class: customer.ringing ? "rings" : null },
    el("a", { href: `#/${encodeURIComponent(customer.id)}` },
      el("span", { class: "title" }, said(name)), el("span", { class: "about" }, ...about)));
}
