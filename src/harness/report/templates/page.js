// What the page does beyond being read: tables that sort, plots that tell their values, legends that toggle.
// Everything is there without it. Texts are set as text and never as markup.
"use strict";
(() => {
  const make = (tag, className, text) => {
    const element = document.createElement(tag);
    if (className) element.className = className;
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const shape = (tag, className) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    element.setAttribute("class", className);
    return element;
  };

  // Tables: a button in each head. Rows without a value stay last, whichever way it goes.
  const valueOf = (row, at) => {
    const cell = row.cells[at];
    if (!cell) return null;
    if (cell.dataset.v !== undefined) return Number(cell.dataset.v);
    const text = cell.textContent.trim();
    return text === "" || text.startsWith("–") ? null : text;
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  const sort = (table, at, descending) => {
    const body = table.tBodies[0];
    const rows = [...body.rows].map((row) => ({ row, value: valueOf(row, at) }));
    rows.sort((a, b) => {
      if (a.value === null || b.value === null) return (a.value === null) - (b.value === null);
      return descending ? compare(b.value, a.value) : compare(a.value, b.value);
    });
    body.append(...rows.map(({ row }) => row));
  };
  for (const table of document.querySelectorAll("main table")) {
    if (!table.tBodies[0] || table.tBodies[0].rows.length < 3) continue;
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, at) => {
      if (!head.textContent.trim()) return;
      const button = make("button", "sort", head.textContent);
      button.type = "button";
      button.title = "Sort by this column";
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        // A number is looked for at its largest, a name at its beginning.
        const now = head.getAttribute("aria-sort");
        const descending = now ? now === "ascending" : head.classList.contains("num");
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        sort(table, at, descending);
      });
    });
  }

  // Plots: the values at the place that is pointed at, of every curve that is shown there.
  const tip = make("div", "tip");
  tip.hidden = true;
  tip.setAttribute("aria-hidden", "true");
  document.body.append(tip);
  const curvesOf = (svg) =>
    [...svg.querySelectorAll("[data-told]")].map((line) => {
      const told = line.dataset.told.split(";").map((pair) => {
        const at = pair.indexOf("=");
        return [pair.slice(0, at), pair.slice(at + 1)];
      });
      const points = line.getAttribute("points").trim().split(/\s+/).map((point) => point.split(",").map(Number));
      return { line, name: line.getAttribute("class"), points, told };
    });
  for (const plot of document.querySelectorAll(".plot")) {
    const svg = plot.querySelector("svg");
    if (!svg || !svg.querySelector("[data-told]")) continue;
    const figure = plot.closest("figure");
    const labels = new Map([...figure.querySelectorAll(".keys li")].map((key) => [`s-${key.dataset.class}`, key.textContent]));
    const curves = curvesOf(svg);
    const places = [...new Set(curves.flatMap(({ points }) => points.map(([x]) => x)))].sort((a, b) => a - b);
    const cursor = shape("line", "cursor");
    const [, , , height] = svg.getAttribute("viewBox").split(" ").map(Number);
    cursor.setAttribute("y1", "0");
    cursor.setAttribute("y2", String(height));
    let shown = null;
    const hide = () => {
      tip.hidden = true;
      cursor.remove();
      shown = null;
    };
    const show = (x) => {
      const near = places.reduce((best, place) => (Math.abs(place - x) < Math.abs(best - x) ? place : best), places[0]);
      const reach = (places[places.length - 1] - places[0]) / 60 + 2;
      const seen = new Map();
      for (const { line, name, points, told } of curves) {
        if (line.classList.contains("off")) continue;
        const at = points.reduce((best, [px], n) => (Math.abs(px - near) < Math.abs(points[best][0] - near) ? n : best), 0);
        const distance = Math.abs(points[at][0] - near);
        const known = seen.get(name);
        if (distance <= reach && (!known || distance < known.distance)) seen.set(name, { distance, pair: told[at] });
      }
      if (seen.size === 0) return hide();
      shown = near;
      cursor.setAttribute("x1", String(near));
      cursor.setAttribute("x2", String(near));
      svg.append(cursor);
      const nearest = [...seen.values()].reduce((a, b) => (b.distance < a.distance ? b : a));
      const list = make("dl");
      for (const [name, { pair }] of seen) {
        const term = make("dt", "", labels.get(name) || "");
        const swatch = shape("svg", "key");
        swatch.setAttribute("viewBox", "0 0 28 10");
        const sample = shape("line", name);
        for (const [key, value] of [["x1", 1], ["x2", 27], ["y1", 5], ["y2", 5]]) sample.setAttribute(key, String(value));
        swatch.append(sample);
        term.prepend(swatch);
        list.append(term, make("dd", "", pair[1]));
      }
      tip.replaceChildren(make("b", "", nearest.pair[0]), list);
      tip.hidden = false;
      const box = svg.getBoundingClientRect();
      const [, , width] = svg.getAttribute("viewBox").split(" ").map(Number);
      const left = box.left + (near / width) * box.width;
      const beside = left + 16 + tip.offsetWidth < document.documentElement.clientWidth ? left + 12 : left - 12 - tip.offsetWidth;
      tip.style.left = `${Math.max(4, beside) + window.scrollX}px`;
      tip.style.top = `${box.top + window.scrollY + 8}px`;
    };
    plot.addEventListener("pointermove", (event) => {
      const box = svg.getBoundingClientRect();
      const [, , width] = svg.getAttribute("viewBox").split(" ").map(Number);
      show(((event.clientX - box.left) / box.width) * width);
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.tabIndex = 0;
    plot.addEventListener("keydown", (event) => {
      if (event.key === "Escape") return hide();
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (!step || places.length === 0) return;
      event.preventDefault();
      const at = shown === null ? (step > 0 ? -1 : places.length) : places.indexOf(shown);
      show(places[Math.min(places.length - 1, Math.max(0, at + step))]);
    });
  }

  // Legends: each entry shows or hides its marks. The last one stays.
  for (const keys of document.querySelectorAll(".keys")) {
    const items = [...keys.querySelectorAll("li")];
    if (items.length < 2) continue;
    const svg = keys.closest("figure").querySelector(".plot svg");
    for (const item of items) {
      const button = make("button", "toggle");
      button.type = "button";
      button.setAttribute("aria-pressed", "true");
      button.append(...item.childNodes);
      item.append(button);
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        const pressed = items.filter((other) => other.firstElementChild.getAttribute("aria-pressed") === "true");
        if (!on && pressed.length === 1) return;
        button.setAttribute("aria-pressed", String(on));
        for (const part of ["s", "f"])
          for (const mark of svg.getElementsByClassName(`${part}-${item.dataset.class}`)) mark.classList.toggle("off", !on);
      });
    }
  }

  // On paper everything is open, and afterwards as it was.
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const details of opened) details.open = true;
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
  });
  // What a link leads to may be folded away. Names of rows have nothing in them that an address would write in another way.
  const reveal = () => {
    const target = document.getElementById(location.hash.slice(1));
    const folded = target && target.closest("details:not([open])");
    if (folded) {
      folded.open = true;
      target.scrollIntoView();
    }
  };
  window.addEventListener("hashchange", reveal);
  reveal();
})();
