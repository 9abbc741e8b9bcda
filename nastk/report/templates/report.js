"use strict";
(() => {
  // What stands in the page came from a run's folder: text is only ever read and set as text.
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const make = (tag, attributes = {}, words = "") => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    element.textContent = words;
    return element;
  };

  // -- theme: as the system, dark, light ------------------------------------------------------
  const theme = document.getElementById("theme");
  const themes = ["as the system", "dark", "light"];
  let chosen = 0;
  theme.hidden = false;
  theme.addEventListener("click", () => {
    chosen = (chosen + 1) % themes.length;
    theme.textContent = `theme: ${themes[chosen]}`;
    if (chosen) document.documentElement.dataset.theme = themes[chosen];
    else delete document.documentElement.dataset.theme;
  });

  // -- sheets over time: one at a time, by a slider -------------------------------------------
  for (const reel of all(".reel")) {
    const figures = all("figure", reel);
    if (figures.length < 2) continue;
    const last = figures.length - 1;
    const slider = make("input", {
      type: "range", min: 0, max: last, value: last, step: 1, "aria-label": "sheet of samples",
    });
    const show = () => {
      figures.forEach((figure, i) => { figure.hidden = i !== Number(slider.value); });
      slider.setAttribute("aria-valuetext", figures[slider.value].querySelector("figcaption").textContent);
    };
    slider.addEventListener("input", show);
    reel.prepend(slider);
    show();
  }

  // -- tables: sorted by their heads, filtered by text and status -----------------------------
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    const number = cell.dataset.v ?? text.replaceAll(",", "").split(" ")[0];
    return text === "" ? null : number !== "" && Number.isFinite(Number(number)) ? Number(number) : text;
  };
  const compare = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
  const sort = (table, head) => {
    const column = head.cellIndex;
    const down = head.getAttribute("aria-sort") === "ascending";
    const rows = [...table.tBodies[0].rows].map((row) => [valueOf(row, column), row]);
    rows.sort(([a], [b]) => (a === null) - (b === null) || (a === null ? 0 : down ? compare(b, a) : compare(a, b)));
    for (const other of all("th[aria-sort]", table)) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...rows.map(([, row]) => row));
  };
  for (const table of all("table[data-sort]")) {
    for (const head of all("th[data-by]", table)) {
      const button = make("button", { type: "button" }, head.textContent);
      head.replaceChildren(button);
      button.addEventListener("click", () => sort(table, head));
    }
  }
  for (const tools of all(".tools[data-for]")) {
    const table = document.getElementById(tools.dataset.for);
    const [words, status, told] = ["input", "select", "output"].map((tag) => tools.querySelector(tag));
    const rows = [...table.tBodies[0].rows];
    const filter = () => {
      const wanted = words.value.trim().toLowerCase();
      let shown = 0;
      for (const row of rows) {
        const fits = row.textContent.toLowerCase().includes(wanted) && (!status.value || row.dataset.status === status.value);
        row.hidden = !fits;
        shown += fits;
      }
      told.textContent = `${shown} of ${rows.length} shown`;
    };
    words.addEventListener("input", filter);
    status.addEventListener("change", filter);
    tools.hidden = false;
    filter();
  }

  // -- tooltips: by pointer, touch and keyboard -----------------------------------------------
  const tip = document.getElementById("tip");
  const hide = () => { tip.hidden = true; };
  const tell = (element) => {
    tip.textContent = element.dataset.tip;
    tip.hidden = false;
    const at = element.getBoundingClientRect();
    const room = document.documentElement.clientWidth - tip.offsetWidth - 8;
    const above = at.top - tip.offsetHeight - 8;
    tip.style.left = `${window.scrollX + Math.max(8, Math.min(room, at.left + at.width / 2 - tip.offsetWidth / 2))}px`;
    tip.style.top = `${window.scrollY + (above > 0 ? above : at.bottom + 8)}px`;
  };
  for (const kind of ["pointerover", "focusin", "click"]) {
    document.addEventListener(kind, (event) => {
      const element = event.target.closest("[data-tip]");
      if (element) tell(element); else if (kind !== "focusin") hide();
    });
  }
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });

  // -- points and boxes: one stop of the tab key, arrows from one to the next -----------------
  for (const group of all("[data-walk]")) {
    const members = all("[data-tip]", group);
    members.forEach((member, i) => member.setAttribute("tabindex", i ? -1 : 0));
    group.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const next = members[members.indexOf(document.activeElement) + step];
      if (!step || !members.includes(document.activeElement)) return;
      event.preventDefault();
      if (!next) return;
      document.activeElement.setAttribute("tabindex", -1);
      next.setAttribute("tabindex", 0);
      next.focus();
    });
  }

  // -- plots of groups: one group at a time ---------------------------------------------------
  for (const choice of all("select[data-shows]")) {
    const figures = all("figure[data-group]", document.getElementById(choice.dataset.shows));
    const show = () => figures.forEach((figure) => { figure.hidden = figure.dataset.group !== choice.value; });
    choice.addEventListener("change", show);
    choice.closest(".tools").hidden = false;
    show();
  }

  // -- links into what is folded: unfold it ---------------------------------------------------
  const unfold = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
    if (target) target.scrollIntoView();
  };
  window.addEventListener("hashchange", unfold);
  unfold();
})();
