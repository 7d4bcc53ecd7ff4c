// Words for people: times, names of sources, and elements that only ever hold text.

const MINUTE = 60_000, HOUR = 60 * MINUTE, DAY = 24 * HOUR;
const titles = new Map();

/** The sources' own spelling of their names, by vendor. */
export function learn(given) {
  for (const [vendor, title] of Object.entries(given ?? {})) titles.set(vendor, title);
}

/** "hubspot/123" or "hubspot/123/contact/9" for people: HubSpot. */
export function sourceName(source) {
  const vendor = source.split("/")[0];
  return titles.get(vendor) ?? vendor.charAt(0).toUpperCase() + vendor.slice(1);
}

/** An element. Strings become text nodes: nothing that a customer wrote is ever read as markup. */
export function el(tag, given = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(given)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined && child !== ""));
  return made;
}

/** What somebody wrote, in its own direction, so that it cannot turn round what stands beside it. */
export const said = (text) => el("bdi", { dir: "auto" }, String(text));

/** A link out, where the source gave a web address; otherwise only its text. */
export function out(url, ...children) {
  const safe = typeof url === "string" && /^https?:\/\//i.test(url);
  return safe ? el("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, ...children) : el("span", {}, ...children);
}

/** Several elements or texts with a dot between them. */
export function dotted(...parts) {
  const shown = parts.filter(Boolean);
  return shown.flatMap((part, index) => (index ? [" · ", part] : [part]));
}

/** "4 min", "2 h 5 min", "2 d 4 h", "5 wk": how long, in at most two units. */
export function span(ms) {
  if (ms < MINUTE) return "under 1 min";
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return two(Math.floor(ms / HOUR), "h", Math.floor((ms % HOUR) / MINUTE), "min");
  if (ms < 14 * DAY) return two(Math.floor(ms / DAY), "d", Math.floor((ms % DAY) / HOUR), "h");
  if (ms < 100 * DAY) return `${Math.floor(ms / (7 * DAY))} wk`;
  return ms < 730 * DAY ? `${Math.floor(ms / (30.4 * DAY))} months` : `${Math.floor(ms / (365.25 * DAY))} years`;
}

/** Whether somebody has waited too long. */
export const isLong = (ms) => ms > DAY;

const two = (big, bigUnit, small, smallUnit) => `${big} ${bigUnit}` + (small ? ` ${small} ${smallUnit}` : "");

/** How long ago, in one unit. */
export function ago(at, now = Date.now()) {
  const ms = now - Date.parse(at);
  return ms < MINUTE ? "just now" : `${span(ms).split(" ").slice(0, 2).join(" ")} ago`;
}

/** "under a minute left", "about 12 minutes left", "about 5 hours left". */
export function left(seconds) {
  if (seconds < 60) return "under a minute left";
  const [size, unit] = seconds < 5_400 ? [60, "minute"] : seconds < 172_800 ? [3_600, "hour"] : [86_400, "day"];
  const count = Math.round(seconds / size);
  return `about ${count} ${unit}${count > 1 ? "s" : ""} left`;
}

/** "3 Nov", with the year where it is another one. */
export function day(at) {
  const moment = new Date(at);
  const year = moment.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
  return moment.toLocaleDateString("en-GB", { day: "numeric", month: "short", year });
}

/** "0:04": minutes and seconds. */
export function clock(ms) {
  const seconds = Math.max(0, Math.floor(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}

/** "for 4 years"; null where it is too short to say or not a time. */
export function tenure(at) {
  const ms = Date.now() - Date.parse(at);
  if (!(ms > 30 * DAY)) return null;
  const years = Math.floor(ms / (365.25 * DAY));
  if (years < 1) return `customer for ${Math.max(1, Math.floor(ms / (30.4 * DAY)))} months`.replace("1 months", "1 month");
  return `customer for ${years} year${years > 1 ? "s" : ""}`;
}

/** "A", "A and B", "A, B and C". */
export const list = (names) => new Intl.ListFormat("en-GB", { type: "conjunction" }).format(names);
