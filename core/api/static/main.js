// Puts the page together: the address says who is shown, a ring changes the address.

import { get } from "/static/api.js";
import { leave, show, shownId } from "/static/customer.js";
import { watchRings } from "/static/rings.js";
import { mark, refresh, startSearch } from "/static/search.js";
import { learn } from "/static/words.js";

const addressed = () => decodeURIComponent(location.hash.replace(/^#\/?/, ""));

function go() {
  const id = addressed();
  if (!id) leave();
  else if (id !== shownId() && id !== "customer") show(id);
  mark(shownId());
}

function pop(record, call) {
  show(record.id, { record, call });
  history.pushState(null, "", `#/${encodeURIComponent(record.id)}`);
  refresh();
}

const sources = await get("/v1/sources").catch(() => ({}));
if (sources) {
  learn(sources.titles);
  if (sources.kind === "demo") document.body.classList.add("demo");
  window.addEventListener("hashchange", go);
  window.addEventListener("popstate", go);
  watchRings(pop, new URLSearchParams(location.search).get("staff"));
  go();
  await startSearch();
}
