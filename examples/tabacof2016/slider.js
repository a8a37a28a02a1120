// Moves the pictures of one pair through the series of C. The page works without it, and shows the C of the still pictures then.
"use strict";
const data = JSON.parse(document.getElementById("frames").textContent);
for (const box of document.querySelectorAll(".slider")) {
  const duel = data[box.dataset.duel];
  const range = box.querySelector("input"), choice = box.querySelector("select"), told = box.querySelector("output");
  const show = () => {
    const pair = duel.pairs[choice.value], at = Number(range.value);
    for (const end of ["original", "target"]) {
      box.querySelector(`img[data-shows=${end}]`).src = pair[end];
    }
    const words = [];
    for (const [role, model] of Object.entries(pair.models)) {
      const number = (values) => (values[at] === null ? "none" : values[at].toFixed(3));
      const figures = `distortion ${number(model.distortion)}, gap ${number(model.gap)}`;
      for (const kind of ["adversarial", "reconstruction"]) {
        const img = box.querySelector(`img[data-shows=${role}-${kind}]`);
        img.src = model[kind][at];
        img.alt = `${role.toUpperCase()}: ${kind === "adversarial" ? "attacked input" : "its reconstruction"}, ${figures}`;
      }
      words.push(`${role.toUpperCase()}: ${figures}`);
    }
    const strength = `C = ${duel.strengths[at].toExponential(2)}`;
    range.setAttribute("aria-valuetext", strength);
    told.textContent = `${strength}. ${words.join(". ")}.`;
  };
  range.disabled = choice.disabled = false;
  const asked = new RegExp(`(?:#|&)${box.dataset.duel}=(\\d+)`).exec(location.hash);
  if (asked) range.value = asked[1];
  range.addEventListener("input", show);
  choice.addEventListener("change", show);
  show();
}
