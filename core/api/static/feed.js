// One stream of the feed. The browser resumes by itself where it broke off; what ended for good is opened anew.

import { get, trouble } from "/static/api.js";

/** Calls `changed(record)` with every customer that the filter lets through. Returns a function that ends it. */
export function follow(filter, changed) {
  let stream = null, again = null, last = "";

  function open() {
    const asked = new URLSearchParams(filter);
    if (last) asked.set("last_event_id", last);
    stream = new EventSource(`/v1/feed?${asked}`);
    stream.addEventListener("open", () => trouble(null));
    stream.addEventListener("customer", (event) => {
      last = event.lastEventId;
      changed(JSON.parse(event.data));
    });
    stream.addEventListener("reset", () => { last = ""; });
    stream.addEventListener("error", broken);
  }

  async function broken() {
    trouble("The hub cannot be reached; trying again.");
    if (stream.readyState !== EventSource.CLOSED) return;
    // Refused or gone: the answer of a plain request tells a logged-out page from a hub that is down.
    await get("/v1/sources").catch(() => null);
    again = setTimeout(open, 2_000);
  }

  open();
  return () => {
    clearTimeout(again);
    stream.close();
  };
}
