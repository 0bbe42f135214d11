import { svg, attr } from "./dom.js";

const samples = 120; // a minute, at two states a second
const width = 120, height = 28;

// spark draws the last minute of one figure. A sample that is null is a gap.
// The top is the largest sample, or floor if that is more, so that noise does
// not look like a mountain.
export function spark(floor) {
  const line = svg("path", { class: "line" });
  const root = svg("svg", { class: "spark", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none", "aria-hidden": "true" }, line);
  const values = [];
  return {
    root,
    clear() { values.length = 0; attr(line, "d", ""); },
    push(v) {
      values.push(v);
      if (values.length > samples) values.shift();
      const top = Math.max(floor, ...values.filter((x) => x !== null));
      const offset = samples - values.length;
      let d = "", pen = "M";
      values.forEach((x, i) => {
        if (x === null) { pen = "M"; return; }
        d += `${pen}${(((offset + i) / (samples - 1)) * width).toFixed(1)} ${(height - 2 - (x / top) * (height - 4)).toFixed(1)}`;
        pen = "L";
      });
      attr(line, "d", d);
    },
  };
}
