"use strict";

// A viewer's slider shows one frame of its films. Without this script all frames stand side by side.
function enliven(viewer) {
  const slider = viewer.querySelector("input[type=range]");
  const reading = viewer.querySelector(".reading");
  const frames = [...viewer.querySelectorAll(".frames li")].map((item) => item.textContent);
  const films = [...viewer.querySelectorAll(".film > *")].map((element) => {
    const attribute = element.tagName === "IMG" ? "alt" : "aria-label";
    return { element, attribute, name: element.getAttribute(attribute) };
  });

  function show() {
    const said = frames[Number(slider.value)];
    viewer.style.setProperty("--frame", slider.value);
    slider.setAttribute("aria-valuetext", said);
    reading.textContent = said;
    for (const film of films) film.element.setAttribute(film.attribute, `${film.name}, ${said}`);
  }

  viewer.classList.add("live");
  viewer.querySelector(".control").hidden = false;
  slider.addEventListener("input", show);
  show();
}

// What a cell is sorted by: a number, a text, or null for nothing, which comes last either way.
function keyOf(cell) {
  const text = cell.dataset.key ?? cell.textContent.trim();
  if (text === "" || text === "–") return null;
  return Number.isNaN(Number(text)) ? text : Number(text);
}

function compareKeys(a, b) {
  if (typeof a === typeof b) return a < b ? -1 : Number(a > b);
  return typeof a === "number" ? -1 : 1;
}

// Headings become buttons that sort the rows, ascending first.
function makeSortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const way = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      const rows = [...table.tBodies[0].rows].map((row) => ({ row, key: keyOf(row.cells[column]) }));
      const order = (a, b) =>
        a.key === null || b.key === null ? (a.key === null) - (b.key === null) : way * compareKeys(a.key, b.key);
      table.tBodies[0].append(...rows.sort(order).map((one) => one.row));
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
    });
  });
}

const HOLDS = {
  "<": (a, b) => a < b, "<=": (a, b) => a <= b, ">": (a, b) => a > b, ">=": (a, b) => a >= b, "=": (a, b) => a === b,
};

// "hinge < 0.3, excluded": each part is a comparison with a column, or a text that the row contains.
function makeFilter(filter) {
  const table = document.getElementById(filter.dataset.table);
  const titles = [...table.tHead.rows[0].cells].map((head) => head.textContent.trim().toLowerCase());
  const rows = [...table.tBodies[0].rows];
  const field = filter.querySelector("input");
  const status = filter.querySelector("[role=status]");

  function conditionOf(part) {
    const comparison = /^(.+?)\s*(<=|>=|<|>|=)\s*([-\u2212]?[\d.]+)$/.exec(part);
    if (!comparison) return (row) => row.textContent.toLowerCase().includes(part);
    const [, name, sign, number] = comparison;
    const column = titles.findIndex((title) => title.startsWith(name));
    if (column < 0) throw new Error(`No column is called ${name}.`);
    const bar = Number(number.replace("\u2212", "-"));
    return (row) => {
      const key = keyOf(row.cells[column]);
      return typeof key === "number" && HOLDS[sign](key, bar);
    };
  }

  function apply() {
    const parts = field.value.toLowerCase().split(",").map((part) => part.trim()).filter(Boolean);
    try {
      const conditions = parts.map(conditionOf);
      for (const row of rows) row.hidden = !conditions.every((holds) => holds(row));
      status.textContent = parts.length ? `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows` : "";
    } catch (error) {
      status.textContent = error.message;
    }
  }

  filter.hidden = false;
  field.addEventListener("input", apply);
}

document.querySelectorAll(".viewer").forEach(enliven);
document.querySelectorAll("table.sortable").forEach(makeSortable);
document.querySelectorAll(".filter").forEach(makeFilter);
