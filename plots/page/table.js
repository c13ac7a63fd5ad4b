// Tables that sort by a click on a header, filters for the whole page, light and dark.
"use strict";
(() => {
	const root = document.documentElement;

	// --- light and dark: what the system says, until the button says otherwise ---------------------
	const button = document.getElementById("theme");
	const said = () => { try { return localStorage.getItem("ldb-theme"); } catch { return null; } };
	const system = matchMedia("(prefers-color-scheme: dark)");
	const show = (theme) => {
		root.dataset.theme = theme;
		button.textContent = theme === "dark" ? "\u2600 light" : "\u263e dark";
		button.setAttribute("aria-label", `switch to ${theme === "dark" ? "light" : "dark"} colours`);
	};
	show(said() || (system.matches ? "dark" : "light"));
	system.addEventListener("change", () => said() || show(system.matches ? "dark" : "light"));
	button.addEventListener("click", () => {
		const theme = root.dataset.theme === "dark" ? "light" : "dark";
		try { localStorage.setItem("ldb-theme", theme); } catch { /* a page without memory */ }
		show(theme);
	});

	// --- sorting: numbers as numbers, texts as people read them, empty ones last --------------------
	const order = new Intl.Collator("en", { numeric: true, sensitivity: "base" });
	const value = (row, i) => row.cells[i].dataset.v ?? row.cells[i].textContent.trim();
	function sort(table, i, down) {
		const numbers = table.tHead.rows[0].cells[i].classList.contains("num");
		const compare = numbers ? (a, b) => a - b : order.compare;
		const rows = [...table.tBodies[0].rows].map((row) => [value(row, i), row]);
		rows.sort(([a], [b]) => (a === "") - (b === "") || (a === "" ? 0 : compare(a, b) * (down ? -1 : 1)));
		table.tBodies[0].append(...rows.map(([, row]) => row));
		[...table.tHead.rows[0].cells].forEach((th, k) => {
			if (k === i) th.setAttribute("aria-sort", down ? "descending" : "ascending");
			else th.removeAttribute("aria-sort");
		});
	}
	for (const table of document.querySelectorAll("table.sortable"))
		[...table.tHead.rows[0].cells].forEach((th, i) => {
			const by = document.createElement("button");
			by.className = "sort";
			by.type = "button";
			by.append(...th.childNodes);
			th.append(by);
			by.addEventListener("click", () => sort(table, i, th.getAttribute("aria-sort") === "ascending"));
		});

	// --- filters: a thing without a property passes ------------------------------------------------
	const selects = [...document.querySelectorAll(".filters select")];
	const word = document.querySelector(".filters input");
	const rows = [...document.querySelectorAll("tr[data-filter]")].map((row) => [row, JSON.parse(row.dataset.filter)]);
	const count = document.querySelector(".filters output");
	function filter() {
		const wanted = selects.filter((s) => s.value).map((s) => [s.name, s.value]);
		const passes = (own) => wanted.every(([key, v]) => own[key] === undefined || own[key] === null || String(own[key]) === v);
		const text = (word ? word.value : "").trim().toLowerCase();
		let cells = 0, shown = 0;
		for (const [row, own] of rows) {
			row.hidden = !passes(own) || (text !== "" && own.name !== undefined && !own.name.toLowerCase().includes(text));
			if (own.name !== undefined) { cells++; shown += !row.hidden; }
		}
		if (count) count.textContent = shown === cells ? `${cells} cells` : `${shown} of ${cells} cells`;
		document.dispatchEvent(new CustomEvent("filtered", { detail: passes }));
	}
	selects.forEach((s) => s.addEventListener("change", filter));
	if (word) word.addEventListener("input", filter);
	filter();
	root.dataset.ready = "1";
})();
