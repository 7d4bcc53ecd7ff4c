// What the customer's page shows of a record. Every row is of one height, so that a row can change where it is.

import { ago, day, dotted, el, isLong, left, out, said, sourceName, span, tenure } from "/static/words.js";

const KINDS = { call: "Call", conversation: "Conversation", message: "Message", task: "Promise", deal: "Deal" };
const CONTACTS = new Set(["call", "conversation", "message"]);
const OTHERS = { custom: "Item", invoices: "Invoice", subscriptions: "Subscription", orders: "Order", payments: "Payment" };
const OPEN = { tasks: ["open"], conversations: ["open", "pending", "snoozed"], calls: ["in_progress"], deals: ["open"] };

/** The name to call them by; of somebody without one their number or address. */
export function nameOf(record) {
  const { name, phone, email } = record.profile;
  return (name ?? phone ?? email)?.value ?? "Unknown caller";
}

/** The blocks of a customer's page, in order; what is empty has no heading. */
export function blocks(record, sure, call) {
  const items = openItems(record);
  const known = new Set([call?.key, ...items.map((card) => card.key)]);
  return [head(record, sure), waiting(record), open(items), last(record, known), more(record), answers(record), foot(record)].filter(Boolean);
}

/** Instead of the page, while it is not sure who calls. `people` null: still asking. */
export function choice(sure, people, choose, newcomer) {
  const names = (people ?? []).map((each) => each.name ?? "No name");
  const buttons = (people ?? []).map((each, index) => {
    const twice = names.filter((name) => name === names[index]).length > 1;
    const label = dotted(said(names[index]), twice && each.organization && said(each.organization));
    return el("li", {}, el("button", { type: "button", onclick: () => choose(each.id) }, ...label));
  });
  const other = el("li", {}, el("button", { type: "button", class: "quiet", onclick: newcomer }, "New caller"));
  return [el("h1", {}, sure.text), people ? el("ul", { class: "choice" }, ...buttons, other) : el("p", { class: "none" }, "One moment …")];
}

function head(record, sure) {
  const { organization, customer_since: since, email, phone } = record.profile;
  const reached = [email, phone].map((each) => each?.value).filter((value) => value && value !== nameOf(record));
  const about = dotted(organization?.value.name && said(organization.value.name), since && tenure(since.value));
  return el("header", { class: "head" },
    el("h1", { title: nameOf(record) }, said(nameOf(record))),
    reached.length ? el("p", { class: "sure" }, ...dotted(...reached.map(said))) : null,
    about.length ? el("p", { class: "about" }, ...about) : null,
    sure.text ? el("p", { class: `sure ${sure.kind}` }, ...dotted(sure.text, sure.again && el("button", { type: "button", onclick: sure.again }, "Choose again"))) : null);
}

function waiting(record) {
  if (!record.waiting_since) return null;
  const ms = Date.now() - Date.parse(record.waiting_since);
  return el("p", { class: isLong(ms) ? "waiting long" : "waiting", "data-row": "waiting" }, `Waiting ${span(ms)}`);
}

function openItems(record) {
  return Object.entries(OPEN).flatMap(([part, states]) => record[part].filter((card) => states.includes(card.status ?? card.state)));
}

function open(items) {
  if (!items.length) return null;
  const more = items.length - 3;
  return block("Open", items.slice(0, 3).map(item), more > 0 ? el("p", { class: "none" }, `and ${more} more`) : null);
}

function item(card) {
  const owner = card.assignee ?? card.owner;
  const who = owner?.name ? said(owner.name) : owner ? null : "nobody yet"; // a name may still have to be joined
  const late = card.due_at && Date.parse(card.due_at) < Date.now();
  const due = card.due_at && el("span", { class: late ? "late" : "" }, `${late ? "was due" : "due"} ${day(card.due_at)}`);
  const age = card.at && span(Math.max(0, Date.now() - Date.parse(card.at)));
  const kind = [KINDS[card.entity] ?? "Item", card.entity === "call" && card.status?.replaceAll("_", " ")].filter(Boolean).join(", ");
  const title = card.subject ?? card.title ?? card.preview ?? kind;
  return row(card.key, out(card.url, said(title)), dotted(who, due || age, sourceName(card.source)));
}

function last(record, known) {
  const contacts = record.timeline.filter((each) => CONTACTS.has(each.entity) && !known.has(each.key)).slice(0, 5);
  return contacts.length ? block("Last contacts", contacts.map(contact)) : null;
}

function contact(moment) {
  const kind = [KINDS[moment.entity], moment.status?.replaceAll("_", " ")].filter(Boolean).join(", ");
  return row(moment.key, said(moment.title || kind), dotted(moment.title && kind, ago(moment.at), sourceName(moment.key)));
}

/** What else is known, open things first: the company's own objects under their own names, orders, invoices. */
function more(record) {
  const cards = Object.entries(OTHERS).flatMap(([part, word]) => record[part].map((card) => [card, card.kind ?? word]));
  cards.sort(([one], [other]) => other.open - one.open || (other.at ?? "").localeCompare(one.at ?? ""));
  const rest = cards.length - 5;
  const rows = cards.slice(0, 5).map(([card, kind]) => thing(card, kind.charAt(0).toUpperCase() + kind.slice(1).replaceAll("_", " ")));
  return rows.length ? block("More", rows, rest > 0 ? el("p", { class: "none" }, `and ${rest} more`) : null) : null;
}

function thing(card, kind) {
  const titled = card.title && said(card.title);
  const total = card.total && [card.total, card.currency].filter(Boolean).join(" ");
  const state = (card.status ?? card.source_state)?.replaceAll("_", " ");
  const own = Object.entries(card.attributes ?? {}).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
  const facts = own.slice(0, 3).map(([name, value]) => said(`${name.replaceAll("_", " ")}: ${value}`));
  return row(card.key, out(card.url, titled || kind), dotted(titled && kind, state && said(state), total, card.at && day(card.at), sourceName(card.source), ...facts));
}

function answers(record) {
  const articles = record.knowledge ?? [];
  return articles.length ? block("Answers", articles.map(article)) : null;
}

function article(card) {
  const over = card.verified_until && Date.parse(card.verified_until) < Date.now();
  const when = card.verified_at ? ` ${day(card.verified_at)}` : "";
  const state = over ? `verification ended ${day(card.verified_until)}` : card.verified ? `verified${when}` : "not verified";
  const class_ = card.verified && !over ? "good" : "stale";
  return row(card.key, out(card.url, said(card.title ?? "Untitled")), [el("span", { class: class_ }, state)]);
}

/** While a source's past is being fetched, the record may still lack some of it. */
export const isFilling = (record) => Object.values(record.freshness ?? {}).some((its) => its.backfill);

function backfill(past) {
  if (!past) return null;
  const bar = past.total ? el("progress", { max: past.total, value: Math.min(past.fetched, past.total) }) : null;
  const count = past.total ? `${past.fetched} of ${past.total}` : `${past.fetched} so far`;
  const until = typeof past.seconds_left === "number" ? `, ${left(past.seconds_left)}` : "";
  return el("span", { class: "past" }, ` · fetching the past: ${count}${until} `, bar);
}

function foot(record) {
  const links = new Map(record.people.filter((each) => each.url).map((each) => [each.source, each.url]));
  const lines = record.sources.map((source) => {
    const heard = record.freshness?.[source]?.heard;
    const old = heard && Date.now() - Date.parse(heard) > 3_600_000;
    const text = heard ? `heard ${ago(heard)}` : record.freshness ? "not heard yet" : "…";
    const name = out(links.get(source), sourceName(source));
    return el("li", { "data-row": `source ${source}`, class: old ? "stale" : null }, name, " ", text, backfill(record.freshness?.[source]?.backfill));
  });
  return lines.length ? el("footer", { class: "foot" }, el("ul", {}, ...lines)) : null;
}

function block(title, rows, after = null) {
  return el("section", { "aria-label": title }, el("h2", {}, title), el("ul", { class: "rows" }, ...rows), after);
}

const row = (key, title, about) =>
  el("li", { "data-row": key }, el("span", { class: "title" }, title), el("span", { class: "about" }, ...about));
