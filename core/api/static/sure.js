// How sure is it that this is who calls? Out of the record alone.

import { list, sourceName } from "/static/words.js";

const SURE = { proved: "Number proved in", recorded: "Number known in", claimed: "Number claimed in" };
const digits = (text) => (text ?? "").replace(/\D/g, "").slice(-9);

/** The number from which the call comes, as its source wrote it. */
export function callerNumber(record, call) {
  const party = (call.parties ?? []).find((each) => each.role === "caller" || each.role === "requester");
  if (party?.identifier?.kind === "phone") return party.identifier.value;
  const person = record.people.find((each) => each.key === party?.person || each.aliases.includes(party?.person));
  const held = [...(person?.identifiers ?? []), ...record.people.flatMap((each) => each.identifiers)];
  return held.find((each) => each.kind === "phone")?.value ?? null;
}

/** {kind: "known" | "doubt" | "new", text, people?}. In doubt nothing private may be shown before somebody was chosen. */
export function howSure(record, call) {
  const implied = record.people.every((each) => each.implied);
  const number = call ? digits(callerNumber(record, call)) : "";
  const shared = record.contested.find((each) => number && digits(each.identifier) === number);
  if (shared) return oneOf(shared.people);
  if (implied && record.candidates.length) {
    const own = record.people.map((each) => each.key);
    const people = new Set(record.candidates.flatMap((each) => each.persons).filter((key) => !own.includes(key))).size;
    return people > 1 ? oneOf(people) : { kind: "doubt", text: "Perhaps known: ask the name" };
  }
  if (implied) return { kind: "new", text: call ? "New caller" : "Known by number or address only" };
  return { kind: "known", text: call ? byNumber(record, number) : inSources(record) };
}

const oneOf = (people) => ({ kind: "doubt", text: `${people} people use this number: ask the name`, people });

function byNumber(record, number) {
  for (const strength of ["proved", "recorded", "claimed"]) {
    const names = new Set(record.people.filter((each) => !each.implied && each.identifiers.some((held) =>
      held.kind === "phone" && held.class === strength && digits(held.value) === number)).map((each) => sourceName(each.source)));
    if (names.size) return `${SURE[strength]} ${list([...names])}` + (strength === "proved" ? "" : ", not proof");
  }
  return inSources(record);
}

function inSources(record) {
  const names = new Set(record.people.filter((each) => !each.implied).map((each) => sourceName(each.source)));
  return names.size ? `Known in ${list([...names])}` : "";
}
