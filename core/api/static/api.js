// Asks the API; who is logged out is told what to do.

// A record is the same while only its ages change (its ETag says so): of a stored one they would stand still.
const ASKED = { cache: "no-store", headers: { Accept: "application/json" } };

/** JSON of a GET. Null where there is nothing (404, 410) or nobody is logged in; throws where the hub does not answer. */
export async function get(path, signal) {
  const response = await fetch(path, { ...ASKED, signal });
  if (response.status === 401) {
    loggedOut();
    return null;
  }
  if (response.status === 404 || response.status === 410) return null;
  if (!response.ok) throw new Error(`${response.status}`);
  return response.json();
}

export function loggedOut() {
  for (const part of document.querySelectorAll(".top, .desk, #rings")) part.hidden = true;
  document.getElementById("out").hidden = false;
}

/** A line over the page while the hub cannot be reached; null takes it away. */
export function trouble(text) {
  const line = document.getElementById("link");
  line.hidden = text === null;
  line.textContent = text ?? "";
}
