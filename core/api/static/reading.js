// Is somebody reading? Then nothing may move under their eyes: what would wait until they look away, or ask for it.

const QUIET = 6_000; // ms without a move of pointer, wheel or finger

/** Watch a part of the page: `reading()` tells whether somebody reads it, `look()` that it shows something new. */
export function watch(part) {
  let touched = 0;
  for (const kind of ["pointermove", "wheel", "touchmove", "keydown"]) {
    part.addEventListener(kind, () => { touched = Date.now(); }, { passive: true });
  }
  function reading() {
    const chosen = document.getSelection();
    const selecting = !chosen.isCollapsed && part.contains(chosen.anchorNode);
    return Date.now() - touched < QUIET || selecting || part.querySelector(":focus-visible") !== null;
  }
  return { reading, look: () => { touched = 0; } };
}
