// Draws the figures, says which run a point is, sorts and filters tables, and turns the colours over.
"use strict";

(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const root = document.documentElement;
  const tip = document.getElementById("tip");
  const MOST_RUNS = 3;

  // Colours: those of the system until the button is pressed.

  const button = document.getElementById("theme");
  const systemIsDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemIsDark.matches);

  function nameButton() {
    button.textContent = isDark() ? "Light colours" : "Dark colours";
  }

  button.addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    nameButton();
    drawAll();
  });
  systemIsDark.addEventListener("change", () => {
    nameButton();
    drawAll();
  });
  nameButton();

  // Figures. Names and numbers are placed for a wide screen or a narrow one; beyond that a figure follows the page by itself.

  const plots = [...document.querySelectorAll("[data-figure]")];
  const narrow = matchMedia("(max-width: 36rem)");
  const drawn = new Map();
  let drawing = Promise.resolve();

  async function draw(plot) {
    const size = narrow.matches ? "narrow" : "wide";
    const options = {
      mode: "vega-lite",
      actions: false,
      ast: true, // expressions are walked and never compiled: the page's policy allows no code made from strings
      config: data.themes[isDark() ? "dark" : "light"][size],
      defaultStyle: false,
      renderer: "svg",
      tooltip: showTip,
    };
    drawn.get(plot)?.finalize();
    try {
      drawn.set(plot, await vegaEmbed(plot, data.figures[plot.dataset.figure][size], options));
    } catch (error) {
      drawn.delete(plot);
      plot.textContent = "This figure could not be drawn; its numbers are in the tables.";
      console.error(error);
    }
  }

  function drawAll() {
    drawing = drawing.then(async () => {
      document.body.setAttribute("aria-busy", "true");
      for (const plot of plots) await draw(plot);
      document.body.setAttribute("aria-busy", "false");
    });
  }

  narrow.addEventListener("change", drawAll);
  drawAll();

  // What a point says: itself, and the runs that it is made of. Only text is written, never markup.

  function element(name, text) {
    const made = document.createElement(name);
    made.textContent = text;
    return made;
  }

  function described(run) {
    const list = document.createElement("dl");
    for (const [name, text] of Object.entries(data.runs[run] ?? { run })) list.append(element("dt", name), element("dd", text));
    return list;
  }

  function showTip(handler, event, item, value) {
    tip.hidden = !value;
    if (!value) return;
    const runs = item.datum.runs ?? [];
    tip.replaceChildren(element("p", value), ...runs.slice(0, MOST_RUNS).map(described));
    if (runs.length > MOST_RUNS) tip.append(element("p", `and ${runs.length - MOST_RUNS} runs more`));
    // Beside the pointer, on the side where there is room.
    const { offsetWidth: width, offsetHeight: height } = tip;
    const left = event.clientX + 14 + width < innerWidth ? event.clientX + 14 : event.clientX - 14 - width;
    const top = event.clientY + 14 + height < innerHeight ? event.clientY + 14 : event.clientY - 14 - height;
    tip.style.left = `${Math.max(4, left)}px`;
    tip.style.top = `${Math.max(4, top)}px`;
  }

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") tip.hidden = true;
  });
  addEventListener("scroll", () => (tip.hidden = true), { passive: true });

  // Tables. What was not measured stays last, whichever way a column is sorted.

  function sort(heading) {
    const rising = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentElement.cells) other.setAttribute("aria-sort", "none");
    heading.setAttribute("aria-sort", rising ? "ascending" : "descending");
    const numbers = heading.classList.contains("number");
    const compare = (one, other) => {
      if (one === "" || other === "") return (one === "") - (other === "");
      const order = numbers ? one - other : one.localeCompare(other, "en");
      return rising ? order : -order;
    };
    const body = heading.closest("table").tBodies[0];
    const value = (row) => row.cells[heading.cellIndex].dataset.value;
    body.append(...[...body.rows].sort((one, other) => compare(value(one), value(other))));
  }

  for (const pressed of document.querySelectorAll(".sortable thead button")) {
    pressed.addEventListener("click", () => sort(pressed.closest("th")));
  }

  for (const input of document.querySelectorAll("[data-table]")) {
    const rows = document.getElementById(input.dataset.table).tBodies[0].rows;
    const output = input.parentElement.querySelector("output");
    const filter = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of rows) {
        const text = [...row.cells].map((cell) => cell.textContent.toLowerCase()).join(" ");
        row.hidden = !words.every((word) => text.includes(word));
      }
      output.textContent = `${[...rows].filter((row) => !row.hidden).length} of ${rows.length}`;
    };
    input.addEventListener("input", filter);
    filter(); // what a browser kept in the field from before
  }
})();
