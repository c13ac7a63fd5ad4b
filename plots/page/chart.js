// Draws the figures of the page as SVG from the data in it: hover, zoom, legend, enlarged view.
// A figure has rows of panels that share their axes; a panel has lines of dots
// [x, y, low, high, hollow, radius, text]. Names, colours, markers, dashes are those of style.ini.
"use strict";
(() => {
	const data = JSON.parse(document.getElementById("data").textContent);
	const NS = document.getElementById("namespace").namespaceURI;
	const hidden = new Set(); // names that the legend switched off, in all figures
	const panels = [];
	let printing = false;
	const tip = document.getElementById("tip");

	const svg = (tag, attributes, ...children) => {
		const node = document.createElementNS(NS, tag);
		for (const [k, v] of Object.entries(attributes || {})) node.setAttribute(k, v);
		node.append(...children);
		return node;
	};
	const html = (tag, attributes, ...children) => {
		const node = document.createElement(tag);
		for (const [k, v] of Object.entries(attributes || {})) node.setAttribute(k, v);
		node.append(...children);
		return node;
	};

	// --- numbers as texts -------------------------------------------------------------------------
	const digits = (v, n) => String(+v.toPrecision(n));
	const scaled = (v, units, n) => {
		const [factor, unit] = units.find(([f]) => Math.abs(v) >= f * 0.9995) || [1, ""];
		return digits(v / (factor || 1), n) + unit;
	};
	const KEYS = [[1e9, "G"], [1e6, "M"], [1e3, "K"]];
	const BYTES = [[2 ** 30, " GiB"], [2 ** 20, " MiB"], [2 ** 10, " KiB"], [0, " B"]];
	const TIMES = [[1e9, " s"], [1e6, " ms"], [1e3, " \u00b5s"], [0, " ns"]];
	const format = (v, unit, n = 3) =>
		unit === "keys" ? scaled(v, KEYS, n) : unit === "bytes" ? scaled(v, BYTES, n)
		: unit === "time" || (unit === "ns" && v >= 1e4) ? scaled(v, TIMES, n) : digits(v, n);
	// An axis that goes far beyond nanoseconds has its units at the ticks.
	const unitOf = (axis, s) => axis.unit === "ns" && s.high >= 1e4 ? "time" : axis.unit;
	const titleOf = (axis, s) => unitOf(axis, s) === "time" ? axis.text.replace(/^ns\b/, "time") : axis.text;

	// --- scales and ticks -------------------------------------------------------------------------
	const scale = (log, [low, high], [from, to]) => {
		const f = log ? Math.log : (v) => v, a = f(low), b = f(high);
		return {
			log, low, high,
			at: (v) => from + (to - from) * (f(v) - a) / (b - a || 1),
			back: (p) => { const v = a + (b - a) * (p - from) / (to - from); return log ? Math.exp(v) : v; },
		};
	};
	const evenTicks = (low, high, most) => {
		const rough = (high - low) / most, base = 10 ** Math.floor(Math.log10(rough));
		const step = [1, 2, 5, 10].map((m) => m * base).find((s) => s >= rough);
		const ticks = [];
		for (let i = Math.ceil(low / step - 1e-9); i * step <= high * (1 + 1e-9); i++) ticks.push(i * step);
		return ticks;
	};
	const logTicks = (low, high, unit, most) => {
		if (unit === "bytes") {
			for (const step of [1, 2, 3, 5, 10]) {
				const ticks = [];
				for (let e = 0; e <= 50; e += step) if (2 ** e >= low && 2 ** e <= high) ticks.push(2 ** e);
				if (ticks.length <= most) return ticks.length > 1 ? ticks : evenTicks(low, high, most);
			}
		}
		const some = (steps) => {
			const ticks = [];
			for (let e = Math.floor(Math.log10(low)); e <= Math.log10(high); e++)
				for (const m of steps) if (m * 10 ** e >= low * 0.9999 && m * 10 ** e <= high * 1.0001) ticks.push(+(m + "e" + e));
			return ticks;
		};
		const fine = some([1, 2, 5]);
		if (fine.length <= 2) return evenTicks(low, high, most);
		const coarse = some([1]);
		return fine.length <= most ? fine : coarse.length > 1 ? coarse : some([1, 3]);
	};
	const ticksOf = (s, axis, most) => {
		const named = (axis.ticks || []).filter(([v]) => v >= s.low && v <= s.high);
		if (axis.unit === "case") return named;
		const ticks = (s.log ? logTicks(s.low, s.high, axis.unit, most) : evenTicks(s.low, s.high, most));
		const room = (v) => named.every(([other]) => Math.abs(s.at(v) - s.at(other)) > 48);
		return [...named, ...ticks.filter(room).map((v) => [v, format(v, unitOf(axis, s), 4)])];
	};

	// --- markers ----------------------------------------------------------------------------------
	const corners = (n, turn = -90, inner = 1) => {
		const points = [];
		for (let i = 0; i < n * (inner < 1 ? 2 : 1); i++) {
			const r = i % 2 && inner < 1 ? inner : 1;
			const a = (turn + i * 360 / (inner < 1 ? 2 * n : n)) * Math.PI / 180;
			points.push([r * Math.cos(a), r * Math.sin(a)]);
		}
		return points;
	};
	const SHAPES = {
		square: [[-.8, -.8], [.8, -.8], [.8, .8], [-.8, .8]], up: corners(3), down: corners(3, 90),
		left: corners(3, 180), diamond: corners(4), pentagon: corners(5), hexagon: corners(6),
		star: corners(5, -90, .45),
		plus: [[-.33, -1], [.33, -1], [.33, -.33], [1, -.33], [1, .33], [.33, .33], [.33, 1], [-.33, 1], [-.33, .33], [-1, .33], [-1, -.33], [-.33, -.33]],
	};
	SHAPES.cross = SHAPES.plus.map(([x, y]) => [(x - y) * .7071, (x + y) * .7071]);
	const marker = (shape, x, y, r, more) => shape === "none" ? svg("g")
		: SHAPES[shape] ? svg("polygon", { points: SHAPES[shape].map(([a, b]) => `${(x + 1.2 * r * a).toFixed(1)},${(y + 1.2 * r * b).toFixed(1)}`).join(" "), ...more })
		: svg("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r, ...more });
	const DASHES = { dashed: "8 3.2", dotted: "1.6 2.6", dashdot: "9.6 3.2 1.6 3.2" };
	const look = (name) => data.looks[name] || { colour: "#000000", dark: "#e6e9ec", marker: "circle", dash: "solid" };
	const series = (name) => svg("g", { class: "series", "data-name": name, style: `--c:${look(name).colour};--d:${look(name).dark}` });
	const dashing = (name) => DASHES[look(name).dash] ? { "stroke-dasharray": DASHES[look(name).dash] } : {};

	// --- a panel ----------------------------------------------------------------------------------
	class Panel {
		constructor(figure, row, own, host, large) {
			Object.assign(this, { figure, row, own, host, large, view: null, cursor: null });
			this.svg = svg("svg", { role: "img", tabindex: 0, "aria-label": this.label() });
			host.append(this.svg);
			this.listen();
		}
		label() {
			return `${this.figure.title}: ${this.own.title}. ${this.own.lines.length} series. Arrow keys walk through the points, plus and minus zoom, 0 resets, Enter enlarges.`;
		}
		lines() {
			return this.own.lines.filter((l) => !hidden.has(l.name));
		}
		// The row's axis, over what is to be seen in it: panels of a row can be compared.
		domain() {
			const { figure, row } = this;
			const shown = row.panels.filter((p) => !p.off).flatMap((p) => p.lines.filter((l) => !hidden.has(l.name)));
			const dots = (shown.length ? shown : this.own.lines).flatMap((l) => l.dots);
			const span = (values, log, pad) => {
				let low = Math.min(...values), high = Math.max(...values);
				if (!(high > low)) { low = log ? low / 2 : low - .5; high = log ? high * 2 : high + .5; }
				return log ? [low / pad, high * pad] : [low, high];
			};
			const log = row.log;
			const heights = dots.flatMap((d) => [d[2] ?? d[1], d[3] ?? d[1]]).filter((v) => !log || v > 0);
			if (row.unity) heights.push(1);
			const [low, high] = span(heights.length ? heights : [1], log, 1.2);
			const y = log ? [low, high] : figure.y.from0 ? [0, figure.y.to || high * 1.08] : [low - (high - low) * .06, high + (high - low) * .06];
			const x = figure.x.limits || span(dots.map((d) => d[0]), figure.x.log, 1.3);
			return { x, y };
		}
		draw() {
			const { figure, own, row } = this;
			const width = printing ? 380 : Math.max(240, this.host.clientWidth), height = this.large ? Math.max(320, window.innerHeight * .94 - 190) : Math.min(300, Math.max(210, width * .62));
			const names = figure.x.unit === "case" ? figure.x.ticks.map(([, text]) => text) : [];
			this.slanted = names.length * Math.max(...names.map((text) => text.length)) * 6.6 > width - 64;
			const area = this.view || this.domain();
			const box = { left: unitOf(figure.y, { high: area.y[1] }) === "time" ? 64 : 54, right: width - 10, top: 8, bottom: height - (this.slanted ? 60 : figure.x.text ? 38 : 24) };
			const x = scale(figure.x.log, area.x, [box.left, box.right]), y = scale(row.log, area.y, [box.bottom, box.top]);
			Object.assign(this, { box, x, y });
			const node = this.svg, clip = `clip${panels.indexOf(this)}`;
			node.setAttribute("viewBox", `0 0 ${width} ${height}`);
			node.setAttribute("height", height);
			node.replaceChildren(svg("clipPath", { id: clip }, svg("rect", { x: box.left, y: box.top - 4, width: box.right - box.left, height: box.bottom - box.top + 4 })));
			this.drawAxes(node, width, height);
			const inside = svg("g", { "clip-path": `url(#${clip})` });
			node.append(inside);
			for (const [at, text] of own.marks || []) this.drawMark(inside, at, text);
			if (row.unity) inside.append(svg("line", { class: "unity", x1: box.left, x2: box.right, y1: y.at(1), y2: y.at(1) }));
			if (own.steps && own.steps.length) inside.append(svg("path", { class: "front", d: own.steps.map(([a, b], i) => (i ? `H${x.at(a).toFixed(1)}V${y.at(b).toFixed(1)}` : `M${x.at(a).toFixed(1)} ${y.at(b).toFixed(1)}`)).join("") }));
			for (const line of this.lines()) inside.append(this.drawLine(line));
			inside.append(this.ring = svg("circle", { class: "cursor", r: 8, visibility: "hidden" }));
			inside.append(this.rubber = svg("rect", { class: "zoombox", visibility: "hidden" }));
		}
		drawAxes(node, width, height) {
			const { figure, box, x, y, row } = this;
			for (const [v, text] of ticksOf(y, { ...figure.y, ...row }, Math.max(4, (box.bottom - box.top) / 26))) {
				const at = y.at(v).toFixed(1);
				node.append(svg("line", { class: "gridline", x1: box.left, x2: box.right, y1: at, y2: at }),
					svg("text", { x: box.left - 5, y: +at + 4, "text-anchor": "end" }, text));
			}
			for (const [v, text] of ticksOf(x, figure.x, Math.max(3, (box.right - box.left) / 62))) {
				const at = x.at(v).toFixed(1);
				if (figure.x.unit !== "case") node.append(svg("line", { class: "gridline", x1: at, x2: at, y1: box.top, y2: box.bottom }));
				node.append(this.slanted
					? svg("text", { transform: `translate(${at} ${box.bottom + 13}) rotate(-25)`, "text-anchor": "end" }, text)
					: svg("text", { x: at, y: box.bottom + 15, "text-anchor": "middle" }, text));
			}
			node.append(svg("path", { class: "frame", d: `M${box.left} ${box.top}V${box.bottom}H${box.right}` }),
				svg("text", { class: "axis", x: (box.left + box.right) / 2, y: height - 4, "text-anchor": "middle" }, titleOf(figure.x, x)),
				svg("text", { class: "axis", transform: `translate(12 ${(box.top + box.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, titleOf(figure.y, y)));
		}
		drawMark(inside, at, text) {
			const { box, x } = this, px = x.at(at);
			if (px < box.left || px > box.right) return;
			const left = px > box.right - 40;
			inside.append(svg("line", { class: "mark", x1: px, x2: px, y1: box.top, y2: box.bottom }),
				svg("text", { x: px + (left ? -3 : 3), y: box.top + 9, "text-anchor": left ? "end" : "start" }, text));
		}
		drawLine(line) {
			const { figure, x, y } = this, g = series(line.name), dots = line.dots;
			const place = (d, i = 1) => `${x.at(d[0]).toFixed(1)} ${y.at(Math.max(d[i] ?? d[1], y.log ? 1e-9 : -Infinity)).toFixed(1)}`;
			const path = (list, i) => list.map((d) => place(d, i)).join("L");
			const ranged = dots.some((d) => d[3] > d[2]);
			if (figure.bands && dots.length > 1 && ranged)
				g.append(svg("path", { class: "band", d: `M${path(dots, 2)}L${path([...dots].reverse(), 3)}Z` }));
			else for (const d of dots) if (d[3] > d[2])
				g.append(svg("path", { class: "bar", d: `M${place(d, 2)}L${place(d, 3)}` }));
			if (figure.joined && dots.length > 1) g.append(svg("path", { class: "line", d: "M" + path(dots, 1), ...dashing(line.name) }));
			for (const d of dots) if (d[5])
				g.append(marker(look(line.name).marker, x.at(d[0]), y.at(d[1]), d[5], { class: "dot" + (d[4] ? " hollow" : "") }));
			return g;
		}
		// --- pointing and zooming
		nearest(px, py) {
			let best = null, least = 40 ** 2;
			for (const line of this.lines()) line.dots.forEach((d, i) => {
				const far = (this.x.at(d[0]) - px) ** 2 + (this.y.at(d[1]) - py) ** 2;
				if (far < least) { least = far; best = { line, i }; }
			});
			return best;
		}
		point(at) {
			this.cursor = at;
			if (!at) { this.ring?.setAttribute("visibility", "hidden"); tip.hidden = true; return; }
			const { figure } = this, d = at.line.dots[at.i], px = this.x.at(d[0]), py = this.y.at(d[1]);
			this.ring.setAttribute("cx", px); this.ring.setAttribute("cy", py); this.ring.setAttribute("visibility", "visible");
			const unit = figure.y.unit, range = d[3] > d[2] ? ` [${format(d[2], unit, 4)}, ${format(d[3], unit, 4)}]` : "";
			const where = figure.x.unit === "case" ? (figure.x.ticks.reduce((a, b) => Math.abs(b[0] - d[0]) < Math.abs(a[0] - d[0]) ? b : a, [Infinity, ""])[1])
				: `${(figure.x.ticks || []).find(([v]) => v === d[0])?.[1] || format(d[0], figure.x.unit, 4)} ${figure.x.word || ""}`;
			tip.textContent = `${figure.labels[at.line.name] || at.line.name}${d[6] ? `\n${d[6]}` : ""}\n${where}\n${format(d[1], unit, 4)}${range} ${figure.y.text}${d[4] ? "\nno batch of its own: plain loop" : ""}`;
			tip.hidden = false;
			const r = this.svg.getBoundingClientRect(), k = r.width / this.svg.viewBox.baseVal.width;
			const left = r.left + px * k, w = tip.offsetWidth;
			tip.style.left = `${Math.max(4, left + w + 24 > innerWidth ? left - w - 14 : left + 14)}px`;
			tip.style.top = `${Math.max(4, Math.min(innerHeight - tip.offsetHeight - 4, r.top + py * k - 20))}px`;
		}
		step(key) {
			const lines = this.lines();
			if (!lines.length) return;
			let l = this.cursor ? lines.indexOf(this.cursor.line) : -1, i = this.cursor ? this.cursor.i : 0;
			if (l < 0) { l = 0; i = 0; }
			else if (key === "ArrowRight") i++;
			else if (key === "ArrowLeft") i--;
			else l += key === "ArrowDown" ? 1 : lines.length - 1;
			const line = lines[l % lines.length];
			this.point({ line, i: Math.max(0, Math.min(line.dots.length - 1, i)) });
		}
		zoom(factor, px, py) {
			const { box, x, y } = this;
			px = px ?? (box.left + box.right) / 2; py = py ?? (box.top + box.bottom) / 2;
			this.view = {
				x: [x.back(px + (box.left - px) * factor), x.back(px + (box.right - px) * factor)],
				y: [y.back(py + (box.bottom - py) * factor), y.back(py + (box.top - py) * factor)],
			};
			this.draw();
		}
		reset() { this.view = null; this.point(null); this.draw(); }
		place(event) {
			const r = this.svg.getBoundingClientRect(), k = this.svg.viewBox.baseVal.width / r.width;
			return [(event.clientX - r.left) * k, (event.clientY - r.top) * k];
		}
		listen() {
			const node = this.svg;
			let from = null;
			node.addEventListener("pointerdown", (e) => {
				if (e.button) return;
				node.focus({ preventScroll: true });
				if (e.pointerType === "mouse") { from = this.place(e); node.setPointerCapture(e.pointerId); e.preventDefault(); }
			});
			node.addEventListener("pointermove", (e) => {
				const [px, py] = this.place(e);
				if (!from) return this.point(this.nearest(px, py));
				const [a, b] = this.drag(from, [px, py]);
				const far = Math.hypot(px - from[0], py - from[1]) > 6;
				this.rubber.setAttribute("visibility", far ? "visible" : "hidden");
				for (const [k, v] of Object.entries({ x: a[0], y: b[0], width: a[1] - a[0], height: b[1] - b[0] })) this.rubber.setAttribute(k, v);
			});
			node.addEventListener("pointerup", (e) => {
				if (!from) return;
				const to = this.place(e), start = from, [a, b] = this.drag(start, to);
				from = null;
				this.rubber.setAttribute("visibility", "hidden");
				if (Math.hypot(to[0] - start[0], to[1] - start[1]) <= 6) return;
				this.view = { x: a.map(this.x.back), y: [this.y.back(b[1]), this.y.back(b[0])] };
				this.point(null);
				this.draw();
			});
			node.addEventListener("pointerleave", () => { if (!from) this.point(null); });
			node.addEventListener("blur", () => this.point(null));
			node.addEventListener("dblclick", () => this.reset());
			node.addEventListener("wheel", (e) => { // without focus the page scrolls
				if (!this.large && !e.ctrlKey && document.activeElement !== node) return;
				e.preventDefault();
				this.zoom(e.deltaY > 0 ? 1.25 : .8, ...this.place(e));
			}, { passive: false });
			node.addEventListener("keydown", (e) => {
				const act = { "+": () => this.zoom(.7), "=": () => this.zoom(.7), "-": () => this.zoom(1.4), 0: () => this.reset(), Enter: () => this.large || enlarge(this) }[e.key]
					|| (e.key.startsWith("Arrow") && (() => this.step(e.key)));
				if (act) { e.preventDefault(); act(); }
			});
		}
		// The box of a drag; one that is flat zooms one axis only.
		drag(from, to) {
			const { box } = this, sort = (a, b, low, high) => [Math.max(low, Math.min(a, b)), Math.min(high, Math.max(a, b))];
			const flat = (a, b) => Math.abs(a - b) < 8;
			return [flat(from[0], to[0]) ? [box.left, box.right] : sort(from[0], to[0], box.left, box.right),
				flat(from[1], to[1]) ? [box.top, box.bottom] : sort(from[1], to[1], box.top, box.bottom)];
		}
	}

	// --- figures, legends, the enlarged view ------------------------------------------------------
	const dialog = document.getElementById("enlarged");
	function enlarge(panel) {
		const host = html("div", { class: "panel" }, html("h4", {}, `${panel.figure.title}: ${panel.own.title}`));
		dialog.querySelector("div").replaceChildren(legend(panel.figure), host, html("p", { class: "hint" }, "Wheel or drag to zoom, double-click or 0 to reset, arrow keys walk through the points, Esc closes."));
		dialog.showModal();
		dialog.append(tip); // what is outside is below it
		const large = new Panel(panel.figure, panel.row, panel.own, host, true);
		panels.push(large);
		large.draw();
		large.svg.focus();
		dialog.onclose = () => { panels.splice(panels.indexOf(large), 1); tip.hidden = true; document.body.append(tip); panel.svg.focus({ preventScroll: true }); };
	}
	function legend(figure) {
		const names = Object.keys(figure.labels);
		const box = html("div", { class: "legend", role: "group", "aria-label": "series" });
		for (const name of names) {
			const sample = svg("svg", { width: 34, height: 14, "aria-hidden": "true" });
			const g = series(name);
			if (figure.joined) g.append(svg("path", { class: "line", d: "M1 7H33", ...dashing(name) }));
			if (figure.dotted) g.append(marker(look(name).marker, 17, 7, 4, { class: "dot" }));
			sample.append(g);
			const button = html("button", { type: "button", "data-series": name, "aria-pressed": !hidden.has(name), title: "show or hide; with Shift: only this one" }, sample, figure.labels[name]);
			button.addEventListener("click", (e) => {
				if (e.shiftKey) names.forEach((n) => n === name ? hidden.delete(n) : hidden.add(n));
				else if (!hidden.delete(name)) hidden.add(name);
				redraw();
			});
			const dim = (on) => document.querySelectorAll(".panel .series").forEach((g) => g.classList.toggle("dim", on && g.dataset.name !== name));
			button.addEventListener("pointerenter", () => dim(true));
			button.addEventListener("pointerleave", () => dim(false));
			box.append(button);
		}
		const all = html("button", { type: "button", class: "plain" }, "all");
		const none = html("button", { type: "button", class: "plain" }, "none");
		all.addEventListener("click", () => { names.forEach((n) => hidden.delete(n)); redraw(); });
		none.addEventListener("click", () => { names.forEach((n) => hidden.add(n)); redraw(); });
		box.append(all, none);
		return box;
	}
	function redraw() {
		document.querySelectorAll("[data-series]").forEach((b) => b.setAttribute("aria-pressed", !hidden.has(b.dataset.series)));
		for (const p of panels) if (!p.own.off || p.large) p.draw();
	}
	for (const figure of data.figures) {
		const place = document.getElementById(`figure-${figure.id}`);
		const caption = place.querySelector("figcaption");
		caption.before(legend(figure));
		const newGrid = () => {
			const node = html("div", { class: "grid" + (figure.wide ? " wide" : "") });
			caption.before(node);
			return node;
		};
		const shared = figure.rows.every((row) => row.panels.length < 2) ? newGrid() : null;
		for (const row of figure.rows) {
			const grid = shared || newGrid();
			for (const own of row.panels) {
				const button = html("button", { type: "button", title: "enlarge", "aria-label": `enlarge ${own.title}` }, "\u2922");
				const host = html("div", { class: "panel" }, html("h4", {}, own.title), button);
				grid.append(host);
				const panel = new Panel(figure, row, own, host, false);
				panels.push(panel);
				button.addEventListener("click", () => enlarge(panel));
			}
		}
	}
	// The filters above the page hide panels; axes are then those of what is left.
	document.addEventListener("filtered", (e) => {
		for (const p of panels) if (!p.large) {
			p.own.off = !e.detail(p.own.filter);
			p.host.hidden = p.own.off;
		}
		for (const figure of data.figures)
			document.getElementById(`figure-${figure.id}`).hidden = figure.rows.every((r) => r.panels.every((p) => p.off));
		redraw();
	});
	let width = innerWidth;
	window.addEventListener("resize", () => { if (innerWidth !== width) { width = innerWidth; redraw(); } });
	for (const when of ["beforeprint", "afterprint"])
		window.addEventListener(when, () => { printing = when === "beforeprint"; redraw(); });
	redraw();
})();
