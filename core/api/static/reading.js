// Is somebody reading? Then nothing may move under their eyes: what would wait until they look away, or ask for it.

const QUIET = 6_000; // ms without a move of pointer, wheel or key
let touched = 0;

/** Mark moves over `part` as reading. */
export function watch(part) {
  for (const kind of ["pointermove", "wheel", "keydown", "touchmove", "focusin"]) {
    part.addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
}

export const reading = () => Date.now() - touched < QUIET || !document.getSelection().isCollapsed;

/** Start unread: the page shows something else now. */
export const look = () => { touched = 0; };
