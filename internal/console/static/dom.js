// The few things that every part of the page does with elements. Elements are
// made once and then only their text changes: nothing jumps, and who has the
// keyboard focus keeps it.

export function el(tag, props = {}, ...children) {
  const e = document.createElement(tag);
  for (const [k, v] of Object.entries(props)) {
    if (k in e) e[k] = v; else e.setAttribute(k, v);
  }
  e.append(...children);
  return e;
}

export function svg(tag, attrs = {}, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attrs)) e.setAttribute(k, v);
  e.append(...children);
  return e;
}

export function text(e, s) {
  if (e.textContent !== s) e.textContent = s;
}

export function attr(e, name, value) {
  if (e.getAttribute(name) !== String(value)) e.setAttribute(name, value);
}
