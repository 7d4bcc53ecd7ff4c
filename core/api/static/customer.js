// The customer's page as it lives: drawn from the feed's record at once, drawn again when the rest has been joined.

import { get } from "/static/api.js";
import { follow } from "/static/feed.js";
import { watch } from "/static/reading.js";
import { callerNumber, howSure } from "/static/sure.js";
import { blocks, choice, isFilling } from "/static/view.js";
import { el } from "/static/words.js";

const place = document.getElementById("customer");
const { reading, look } = watch(place);
const nobody = [...place.children];
let shown = null; // {id, record, call, from, people, stop, loading, again}

export const shownId = () => shown?.id ?? null;

/** Is this the customer that is shown, or whose caller was chosen out of several? */
export const shows = (id) => shown !== null && (shown.id === id || shown.from?.id === id);

/** Show a customer. `record` is what is known already, `call` the call that rings. `from` is the record whose caller was
 * in doubt, where a person has chosen who it is. */
export function show(id, { record = null, call = null, from = null } = {}) {
  leave();
  look();
  shown = { id, record: null, call, from, people: null };
  document.body.classList.add("showing");
  place.scrollTop = 0;
  if (record) draw(record);
  else place.replaceChildren(el("p", { class: "none" }, "One moment …"));
  live();
  load();
}

/** Nobody is shown any more. */
export function leave() {
  shown?.stop?.();
  shown = null;
  document.body.classList.remove("showing");
  place.replaceChildren(...nobody);
}

function live() {
  if (!shown || document.visibilityState !== "visible") return;
  const mine = shown;
  mine.stop ??= follow({ customer: mine.id }, (record) => {
    // Of one that was merged nothing is left to show; the one that it became part of comes next.
    if (shown !== mine || record.status !== "live") return;
    const { freshness, knowledge } = mine.record ?? {};
    update({ freshness, knowledge, ...record });
    load();
  });
}

async function load() {
  const mine = shown;
  if (mine.loading) {
    mine.again = true; // changes came faster than answers: one more will do for all of them
    return;
  }
  mine.loading = true;
  const record = await get(`/v1/customers/${encodeURIComponent(mine.id)}`).catch(() => undefined);
  mine.loading = false;
  if (shown !== mine) return;
  if (record === null) place.replaceChildren(el("p", { class: "none" }, "This customer is gone."));
  else if (record && !older(record.version, mine.record?.version)) update(record);
  if (mine.again) {
    mine.again = false;
    load();
  }
}

function older(version, than) {
  if (!than) return false;
  const [generation, seq] = version.split("-").map(Number), [other, last] = than.split("-").map(Number);
  return generation < other || (generation === other && seq < last);
}

/** Draw; or, while somebody reads, change rows where they are and offer the rest. */
function update(record) {
  if (!shown.record || !reading()) {
    draw(record);
    return;
  }
  shown.record = record;
  const next = el("div", {}, ...parts(record));
  const rows = new Map([...next.querySelectorAll("[data-row]")].map((row) => [row.dataset.row, row]));
  const old = [...place.querySelectorAll("[data-row]")];
  let same = rows.size === old.length;
  for (const row of old) {
    const fresh = rows.get(row.dataset.row);
    if (!fresh) same = false;
    else if (!fresh.isEqualNode(row)) row.replaceChildren(...fresh.childNodes);
  }
  if (!same) offer();
}

function offer() {
  if (place.querySelector(".fresh")) return;
  place.append(el("button", { class: "fresh", type: "button", onclick: () => draw(shown.record) }, "Something new: show"));
}

/** Only what differs is replaced, so that what stays keeps its focus. Buttons never stay: their meaning is not in their text. */
function draw(record) {
  shown.record = record;
  const next = parts(record);
  next.forEach((part, index) => {
    const old = place.children[index];
    if (!old) place.append(part);
    else if (!old.isEqualNode(part) || part.querySelector("button")) old.replaceWith(part);
  });
  while (place.children.length > next.length) place.lastElementChild.remove();
}

function parts(record) {
  const sure = howSure(record, shown.call);
  if (shown.from) return blocks(record, chosen(sure), shown.call);
  if (sure.kind !== "doubt" || !shown.call) return blocks(record, sure, shown.call);
  if (!shown.people) ask(record);
  return choice(sure, shown.people, choose, newcomer);
}

async function ask(record) {
  const mine = shown;
  const number = callerNumber(record, mine.call);
  const found = number && (await get(`/v1/lookup?phone=${encodeURIComponent(number)}`).catch(() => null));
  if (shown !== mine) return;
  mine.people = found?.candidates ?? [];
  draw(mine.record);
}

function choose(id) {
  show(id, { call: shown.call, from: shown.record });
}

function chosen(sure) {
  const { from, call } = shown;
  const text = sure.people ? `Chosen by you: ${sure.people} people use this number` : "Chosen by you";
  return { kind: "doubt", text, again: () => show(from.id, { record: from, call }) };
}

/** None of them: what this number did before, where it is nobody's; else nothing. */
function newcomer() {
  const { record, id, call } = shown;
  if (record.people.every((each) => each.implied)) show(id, { record, call, from: record });
  else place.replaceChildren(el("h1", {}, "New caller"), el("p", { class: "none" }, "Nothing is known yet."));
}

/** No change of the record tells how far a fetch of its past is: that is asked for, while somebody looks. */
function lookAgain() {
  if (!shown?.record || shown.people !== null || document.visibilityState !== "visible") return;
  if (isFilling(shown.record)) load();
}

document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible") live();
  else if (shown) {
    shown.stop?.();
    shown.stop = null;
  }
});
setInterval(() => { if (place.querySelector(".fresh") && !reading()) draw(shown.record); }, 1_000);
setInterval(() => { if (shown?.record && shown.people === null && !reading()) draw(shown.record); }, 30_000); // ages grow
setInterval(lookAgain, 5_000);
