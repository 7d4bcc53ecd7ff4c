// The bars of ringing calls, counting. The first ring pops its customer up; a second one waits for a click.

import { follow } from "/static/feed.js";
import { shows } from "/static/customer.js";
import { howSure } from "/static/sure.js";
import { nameOf } from "/static/view.js";
import { clock, dotted, el, said } from "/static/words.js";

const place = document.getElementById("rings");
const alert = document.getElementById("said");
const FORGOTTEN = 15 * 60_000; // ms after which a ring whose end nobody told is over
const rings = new Map(); // customer id: {call, since, bar, time, show}

/** `pop(record, call)` shows a customer. `staff`: only calls for this member of staff. */
export function watchRings(pop, staff) {
  follow(staff ? { ringing: 1, staff } : { ringing: 1 }, (record) => {
    const call = record.status === "live" && record.ringing[0];
    const known = rings.get(record.id);
    if (!call || Date.now() - Date.parse(call.at) > FORGOTTEN) end(record.id);
    else if (known?.call.key !== call.key) begin(record, call, pop);
    else fill(known, record, call, pop);
  });
  setInterval(count, 250);
}

function begin(record, call, pop) {
  const before = rings.get(record.id);
  const first = rings.size === (before ? 1 : 0);
  const ring = { call, since: Math.min(Date.now(), Date.parse(call.at)), bar: el("div", { class: "ring" }), time: el("span", { class: "time" }) };
  fill(ring, record, call, pop);
  rings.set(record.id, ring); // a second call of the same customer keeps the first one's place
  if (before) before.bar.replaceWith(ring.bar);
  else place.append(ring.bar);
  if (first) pop(record, call);
  count();
  const doubt = howSure(record, call);
  alert.textContent = `Ringing: ${doubt.kind === "doubt" ? doubt.text : nameOf(record)}`;
}

function fill(ring, record, call, pop) {
  ring.call = call;
  const forWhom = call.assignee?.name ?? call.team?.name;
  const line = call.line?.name ?? call.line?.number;
  const words = dotted(el("span", {}, "Ringing ", ring.time), caller(record, call), line && said(line), forWhom && el("span", {}, "for ", said(forWhom)));
  ring.show = el("button", { type: "button", onclick: () => pop(record, call) }, "Show");
  ring.bar.replaceChildren(el("p", {}, ...words), ring.show);
  count();
}

function caller(record, call) {
  const { kind, people } = howSure(record, call);
  if (kind === "known") return said(nameOf(record));
  if (kind === "new") return "New caller";
  return people ? `${people} people` : "Perhaps known";
}

function end(id) {
  rings.get(id)?.bar.remove();
  rings.delete(id);
  count();
}

function count() {
  for (const [id, ring] of rings) {
    ring.time.textContent = clock(Date.now() - ring.since);
    ring.show.hidden = shows(id);
  }
  document.title = rings.size ? `Ringing ${clock(Date.now() - Math.min(...[...rings.values()].map((each) => each.since)))}` : "supporthub";
}
