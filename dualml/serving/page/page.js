"use strict";
const model = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const make = (tag, attributes = {}, ...children) => {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
};
const count = (number, word) => `${number.toLocaleString("en")} ${word}${number === 1 ? "" : "s"}`;
const size = (shape) => shape.slice(1).reduce((product, length) => product * length, 1);

/* Rows of numbers in text: CSV, white space, JSON lists. Several lines of full length are several examples. */
function readRows(text, length) {
  const lines = text.trim().startsWith("[") ? [text] : text.trim().split(/\r?\n/).filter((line) => line.trim());
  const rows = lines.map((line) => line.replace(/[[\]]/g, " ").trim().split(/[\s,;]+/).filter(Boolean));
  const numeric = (row) => row.every((value) => Number.isFinite(Number(value)));
  if (rows.length > 1 && !numeric(rows[0])) rows.shift(); // a header
  const wrong = rows.flat().find((value) => !Number.isFinite(Number(value)));
  if (wrong !== undefined) throw new Error(`“${wrong.slice(0, 30)}” is no number.`);
  if (rows.length > 1 && rows.every((row) => row.length === length)) return rows.map((row) => row.map(Number));
  return chunks(rows.flat().map(Number), length);
}
function chunks(values, length) {
  if (!values.length || values.length % length)
    throw new Error(`${count(length, "value")} needed, ${values.length.toLocaleString("en")} given.`);
  return Array.from({ length: values.length / length }, (_, row) => values.slice(row * length, (row + 1) * length));
}

/* Rows of a table as objects by column: CSV with a header, or JSON objects. */
function readTable(text, names) {
  const json = /^\s*[[{]/.test(text);
  let rows;
  try { rows = json ? [JSON.parse(text)].flat().flatMap((item) => item.instances ?? item) : readCsv(text.trim()); }
  catch { throw new Error("This file is no JSON."); }
  const absent = names.filter((name) => !rows.length || !Object.hasOwn(Object(rows[0]), name));
  if (absent.length) throw new Error(`The file lacks the column${absent.length === 1 ? "" : "s"} ${absent.slice(0, 5).join(", ")}${absent.length > 5 ? ", …" : ""}.`);
  return rows;
}
function readCsv(text) {
  const first = text.split("\n", 1)[0];
  const separator = [",", ";", "\t"].reduce((best, other) => first.split(other).length > first.split(best).length ? other : best);
  const cell = new RegExp(`(?:"((?:[^"]|"")*)"|([^${separator}\\r\\n]*))(${separator}|\\r?\\n|$)`, "y");
  const lines = [[]];
  for (let found; (found = cell.exec(text)); ) {
    lines.at(-1).push(found[1]?.replaceAll('""', '"') ?? found[2].trim());
    if (found[3] === "") break;
    if (found[3] !== separator) lines.push([]);
  }
  const [header, ...rows] = lines;
  return rows.map((row) => Object.fromEntries(header.map((name, index) => [name, row[index] ?? ""])));
}

/* The arrays numpy.save writes. */
function readNpy(buffer, length) {
  const bytes = new DataView(buffer);
  const wide = bytes.getUint8(6) > 1;
  const start = (wide ? 12 : 10) + (wide ? bytes.getUint32(8, true) : bytes.getUint16(8, true));
  const head = new TextDecoder("latin1").decode(buffer.slice(wide ? 12 : 10, start));
  const kind = /'descr':\s*'([^']+)'/.exec(head)?.[1];
  const kinds = { "<f4": Float32Array, "<f8": Float64Array, "|u1": Uint8Array, "|i1": Int8Array, "<u2": Uint16Array,
    "<i2": Int16Array, "<i4": Int32Array, "<u4": Uint32Array, "<i8": BigInt64Array, "<u8": BigUint64Array };
  if (!kinds[kind] || /'fortran_order':\s*True/.test(head))
    throw new Error(`This .npy file (${kind}) cannot be read here; save it in C order as float32.`);
  return chunks(Array.from(new kinds[kind](buffer.slice(start)), Number), length);
}

/* The examples of a file, one at a time. */
function stepper(fill) {
  let rows = [], at = 0;
  const step = (by) => { at = Math.min(Math.max(at + by, 0), rows.length - 1); show(); };
  const back = make("button", { type: "button", ariaLabel: "Previous example", onclick: () => step(-1) }, "‹");
  const next = make("button", { type: "button", ariaLabel: "Next example", onclick: () => step(1) }, "›");
  const note = make("span", { className: "note" });
  const element = make("span", { className: "steps", hidden: true }, back, next, note);
  const show = () => {
    element.hidden = rows.length < 2;
    back.disabled = at === 0; next.disabled = at === rows.length - 1;
    note.textContent = `example ${at + 1} of ${rows.length.toLocaleString("en")}`;
    fill(rows[at]);
  };
  return { element, set: (given) => { rows = given; at = 0; show(); }, forget: () => { element.hidden = true; } };
}

/* One widget for each kind of input; value() gives the flat data of one example, or throws. */
function rowField(tensor, need, changed) {
  const length = size(tensor.shape);
  const steps = stepper((row) => { area.value = row.join(", "); changed(); });
  const area = make("textarea", {
    spellcheck: false, ariaLabel: tensor.name, oninput: () => { steps.forget(); changed(); },
    placeholder: `${count(length, need.kind === "ids" ? "whole number" : "number")}, separated by commas, spaces or lines. Or drop a .csv, .json or .npy file.`,
  });
  const take = async (file) => steps.set(file.name.endsWith(".npy") ? readNpy(await file.arrayBuffer(), length) : readRows(await file.text(), length));
  return {
    element: make("div", {}, area, make("div", { className: "tools" }, picker("Choose a file", ".csv,.txt,.json,.npy", take),
      make("button", { type: "button", onclick: () => steps.set([Array(length).fill(0)]) }, "All zeros"), steps.element)),
    take, empty: () => !area.value.trim(),
    value: () => {
      const found = readRows(area.value, length);
      if (found.length > 1) steps.set(found);
      return found[0];
    },
  };
}
function simpleField(tensor, need, changed) {
  const id = `in-${tensor.name}`;
  const numeric = tensor.datatype !== "BYTES";
  const list = need.values?.length ? make("datalist", { id: `${id}-list` }, ...need.values.map((value) => make("option", { value }))) : "";
  const field = need.kind === "text"
    ? make("textarea", { id, className: "text", oninput: changed, placeholder: "Type or paste a text." })
    : make("input", { id, type: "text", inputMode: numeric ? "decimal" : "text", autocomplete: "off", oninput: changed });
  if (list) field.setAttribute("list", `${id}-list`);
  return {
    element: make("div", {}, field, list), id, empty: () => !field.value.trim(),
    missing: () => numeric && !field.value.trim(), // an empty category is one that is not known
    put: (value) => { field.value = value ?? ""; },
    take: async (file) => { field.value = await file.text(); changed(); },
    value: () => {
      if (!numeric) return [field.value];
      if (!Number.isFinite(Number(field.value))) throw new Error(`${tensor.name}: “${field.value.slice(0, 30)}” is no number.`);
      return [Number(field.value)];
    },
  };
}
function imageField(tensor, need, changed) {
  const { rows, columns, channels } = need;
  const pixels = new Float32Array(rows * columns * channels);
  const canvas = make("canvas", { width: columns, height: rows, tabIndex: 0, role: "img", ariaLabel: `Picture of ${columns} by ${rows} pixels to draw on` });
  const context = canvas.getContext("2d");
  const hint = make("div", { className: "hint" }, "Drop or paste an image, or draw here");
  const invert = make("input", { type: "checkbox", onchange: () => { for (let i = 0; i < pixels.length; i++) pixels[i] = 1 - pixels[i]; used = true; paint(); changed(); } });
  const white = make("input", { type: "number", value: need.white ?? 255, min: 0, step: "any", oninput: changed });
  let used = false;
  const paint = () => {
    const image = context.createImageData(columns, rows);
    for (let place = 0; place < rows * columns; place++) {
      for (let channel = 0; channel < 3; channel++)
        image.data[place * 4 + channel] = Math.round(255 * pixels[place * channels + (channels === 3 ? channel : 0)]);
      image.data[place * 4 + 3] = 255;
    }
    context.putImageData(image, 0, 0);
    hint.hidden = used;
  };
  const clear = () => { pixels.fill(0); invert.checked = false; used = false; paint(); changed(); };
  const take = async (file) => {
    let picture;
    try { picture = await createImageBitmap(file); } catch { throw new Error(`${file.name}: is no picture this browser can read.`); }
    const scale = Math.min(columns / picture.width, rows / picture.height);
    const copy = make("canvas", { width: columns, height: rows }).getContext("2d", { willReadFrequently: true });
    copy.imageSmoothingQuality = "high";
    const left = Math.round((columns - picture.width * scale) / 2), top = Math.round((rows - picture.height * scale) / 2);
    const place = [left, top, columns - 2 * left, rows - 2 * top];
    copy.fillStyle = "#fff"; copy.fillRect(...place); // what a picture leaves open is paper
    copy.drawImage(await shrunk(picture, scale), ...place);
    const data = copy.getImageData(0, 0, columns, rows).data;
    let border = 0, edge = 0;
    for (let place = 0; place < rows * columns; place++) {
      const [red, green, blue, covered] = data.subarray(place * 4, place * 4 + 4);
      const grey = (0.299 * red + 0.587 * green + 0.114 * blue) / 255;
      for (let channel = 0; channel < channels; channel++)
        pixels[place * channels + channel] = channels === 3 ? data[place * 4 + channel] / 255 : grey;
      const column = place % columns, row = (place - column) / columns;
      const side = row === top || row === rows - 1 - top || column === left || column === columns - 1 - left;
      if (covered && side) { border++; edge += grey; }
    }
    used = true;
    invert.checked = channels === 1 && edge / border > 0.6; // dark on light, where training sets of this kind are light on dark
    if (invert.checked) for (let i = 0; i < pixels.length; i++) pixels[i] = data[i * 4 + 3] ? 1 - pixels[i] : 0;
    paint(); changed();
  };
  const radius = Math.max(0.75, columns / 18);
  const dab = (x, y) => {
    for (let row = Math.max(0, Math.floor(y - radius - 1)); row < Math.min(rows, y + radius + 1); row++)
      for (let column = Math.max(0, Math.floor(x - radius - 1)); column < Math.min(columns, x + radius + 1); column++) {
        const cover = Math.min(1, Math.max(0, radius + 0.5 - Math.hypot(column + 0.5 - x, row + 0.5 - y)));
        for (let channel = 0; channel < channels; channel++) {
          const place = (row * columns + column) * channels + channel;
          pixels[place] = Math.max(pixels[place], cover);
        }
      }
  };
  let last = null;
  const draw = (event) => {
    const box = canvas.getBoundingClientRect();
    const x = (event.clientX - box.left) / box.width * columns, y = (event.clientY - box.top) / box.height * rows;
    const from = last ?? [x, y], steps = Math.ceil(Math.hypot(x - from[0], y - from[1]) / (radius / 2)) || 1;
    for (let i = 1; i <= steps; i++) dab(from[0] + (x - from[0]) * i / steps, from[1] + (y - from[1]) * i / steps);
    last = [x, y]; used = true; paint(); changed();
  };
  canvas.addEventListener("pointerdown", (event) => { canvas.setPointerCapture(event.pointerId); last = null; draw(event); });
  canvas.addEventListener("pointermove", (event) => { if (event.buttons && canvas.hasPointerCapture(event.pointerId)) draw(event); });
  paint();
  const tools = [picker("Choose an image", "image/*", take), make("button", { type: "button", onclick: clear }, "Clear"), make("label", {}, invert, "Invert")];
  if (need.white === null) tools.push(make("label", { title: "The number of a white pixel in the training data" }, "White is", white));
  return {
    element: make("div", {}, make("div", { className: "pad" }, canvas, hint), make("div", { className: "tools" }, ...tools)),
    take, empty: () => !used,
    value: () => {
      const top = Number(white.value);
      if (!(top > 0)) throw new Error("A white pixel must be a number above 0.");
      return Array.from(pixels, (value) => Number((value * top).toPrecision(7)));
    },
  };
}
async function shrunk(picture, scale) { // by halves, so that every pixel of a large picture counts
  while (scale < 0.5 && Math.min(picture.width, picture.height) > 1) {
    const half = { resizeWidth: Math.max(1, picture.width >> 1), resizeHeight: Math.max(1, picture.height >> 1), resizeQuality: "medium" };
    picture = await createImageBitmap(picture, half);
    scale *= 2;
  }
  return picture;
}
function picker(text, accept, take) {
  const input = make("input", { type: "file", accept, hidden: true, onchange: () => { attempt(() => take(input.files[0])); } });
  return make("span", {}, make("button", { type: "button", onclick: () => { input.value = ""; input.click(); } }, text), input);
}

/* The inputs, and two ways to give a picture. */
const needs = model.inputs ?? model.tensors.map(() => ({ kind: "values" }));
const builders = { image: imageField, values: rowField, ids: rowField };
const builder = (need) => builders[need.kind] ?? simpleField;
let fields = [];
let table = null;
let timer = 0, asked = 0;
const changed = () => { clearTimeout(timer); timer = setTimeout(predict, 120); };
function build(asRow) {
  fields = model.tensors.map((tensor, index) => (asRow ? rowField : builder(needs[index]))(tensor, needs[index], changed));
  const named = fields.map((field, index) => make("div", { className: "field" }, make("label", { htmlFor: field.id ?? "" }, model.tensors[index].name), field.element));
  table = fields.length > 1 && fields.every((field) => field.put) ? tableOf(fields) : null;
  if (table) $("inputs").replaceChildren(table.element, make("div", { className: "columns" }, ...named));
  else $("inputs").replaceChildren(...(fields.length === 1 ? [fields[0].element] : named));
  predict();
}
function tableOf(fields) { // a file with a row for each example
  const names = model.tensors.map((tensor) => tensor.name);
  const steps = stepper((row) => { fields.forEach((field, index) => field.put(row[names[index]])); changed(); });
  const take = async (file) => steps.set(readTable(await file.text(), names));
  return { take, element: make("div", { className: "tools" }, picker("Choose a file", ".csv,.tsv,.json", take), steps.element) };
}
if (needs.some((need) => need.kind === "image")) {
  const buttons = ["Image", "Row"].map((text, index) => make("button", { type: "button", ariaPressed: String(!index), onclick: () => {
    buttons.forEach((button, other) => { button.ariaPressed = String(other === index); });
    build(index === 1);
  } }, text));
  $("modes").append(...buttons); $("modes").hidden = false;
}

/* Files may be dropped or pasted anywhere on the page. */
const attempt = async (action) => { try { await action(); } catch (error) { fail(error.message); } };
const receive = (file) => attempt(() => {
  const picture = file.type.startsWith("image/");
  const asRow = $("modes").lastChild?.ariaPressed === "true";
  if (!$("modes").hidden && picture === asRow) $("modes").children[picture ? 0 : 1].click();
  if (picture && $("modes").hidden) throw new Error("This model does not take pictures.");
  return (table ?? fields[0]).take(file);
});
addEventListener("dragover", (event) => { event.preventDefault(); $("inputs").classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("inputs").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault(); $("inputs").classList.remove("over");
  if (event.dataTransfer.files[0]) receive(event.dataTransfer.files[0]);
});
addEventListener("paste", (event) => { if (event.clipboardData.files[0]) { event.preventDefault(); receive(event.clipboardData.files[0]); } });

/* Ask, and show the answer. */
async function predict() {
  const mine = ++asked;
  $("error").hidden = true;
  if (fields.every((field) => field.empty())) return idle("It appears here as soon as there is an input.");
  const missing = fields.filter((field) => field.missing?.()).length;
  if (missing) return idle(`${count(missing, "value")} still to be filled in.`);
  try {
    const inputs = model.tensors.map((tensor, index) => ({ name: tensor.name, datatype: tensor.datatype, shape: [1, ...tensor.shape.slice(1)], data: fields[index].value() }));
    const body = JSON.stringify({ inputs });
    $("curl").textContent = curl(body);
    const headers = { "content-type": "application/json" };
    if (model.token) headers.authorization = `Bearer ${$("token").value}`;
    const begun = performance.now();
    const response = await fetch(model.path, { method: "POST", headers, body }).catch(() => { throw new Error("The server does not answer."); });
    const answer = await response.json();
    if (mine !== asked) return; // a newer question is under way
    if (!response.ok) throw new Error(answer.error);
    $("time").textContent = `${(performance.now() - begun).toFixed(1)} ms`;
    $("result").replaceChildren(...answer.outputs.map(show));
  } catch (error) { if (mine === asked) fail(error.message); }
}
function idle(message) {
  $("time").textContent = "";
  $("curl").textContent = curl(JSON.stringify({ inputs: model.tensors.map((tensor) => ({ name: tensor.name, datatype: tensor.datatype, shape: [1, ...tensor.shape.slice(1)], data: ["…"] })) }));
  $("result").replaceChildren(make("p", { className: "empty" }, message));
}
function fail(message) { $("error").textContent = message; $("error").hidden = false; $("time").textContent = ""; $("result").replaceChildren(); }
const percent = (value) => value >= 0.9995 && value < 1 ? "> 99.9 %" : value < 0.0005 && value > 0 ? "< 0.1 %" : `${(100 * value).toFixed(1)} %`;
const plain = (value) => Number(value.toPrecision(6)).toString();
function show(output) {
  const known = model.outputs.find((item) => item.name === output.name);
  const block = make("div", { className: "block" });
  if (model.outputs.length > 1) block.append(make("h3", {}, output.name));
  const width = output.shape.at(-1), spread = known.prediction === "softmax";
  const name = (index) => known.classes?.[index] ?? `class ${index}`;
  if (spread && output.data.length === width) {
    const order = output.data.map((value, index) => [value, index]).sort((a, b) => b[0] - a[0]);
    block.append(make("p", { className: "best" }, name(order[0][1]), make("small", {}, percent(order[0][0]))), bars(order.slice(0, 10), name, percent));
    if (order.length > 10) block.append(make("p", { className: "note" }, `and ${order.length - 10} less likely ones`));
  } else if (spread) { // a class for each position
    const best = Array.from({ length: output.data.length / width }, (_, place) => {
      const part = output.data.slice(place * width, (place + 1) * width);
      return part.indexOf(Math.max(...part));
    });
    block.append(make("p", { className: "note" }, "The most likely class of each position"), chips(best.map(name)));
  } else if (known.prediction === "sigmoid" && output.data.length <= 40) {
    block.append(bars(output.data.map((value, index) => [value, index]), (index) => output.data.length === 1 && !known.classes ? output.name : name(index), percent));
  } else if (output.data.length === 1) block.append(make("p", { className: "best" }, plain(output.data[0])));
  else block.append(chips(output.data.map(plain)));
  return block;
}
function bars(order, name, text) {
  return make("ol", {}, ...order.map(([value, index], rank) => {
    const fill = make("i");
    fill.style.width = `${Math.max(0, Math.min(100, 100 * value))}%`;
    return make("li", { className: rank ? "" : "top" }, make("span", { title: name(index) }, name(index)), make("span", { className: "track" }, fill), make("span", {}, text(value)));
  }));
}
const chips = (texts) => make("p", { className: "values" }, ...texts.slice(0, 500).map((text) => make("span", {}, text)), texts.length > 500 ? make("span", {}, `… ${texts.length - 500} more`) : "");
function curl(body) {
  const key = model.token ? ` \\\n  -H "Authorization: Bearer $TOKEN"` : "";
  return `curl ${new URL(model.path, location.href)} \\\n  -H 'Content-Type: application/json'${key} \\\n  -d '${body.replaceAll("'", "'\\''")}'`;
}
$("copy").addEventListener("click", async () => {
  try { await navigator.clipboard.writeText($("curl").textContent); $("copy").textContent = "Copied"; }
  catch { getSelection().selectAllChildren($("curl")); $("copy").textContent = "Selected"; }
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});

/* What the model is, in a line. */
const given = model.tensors.map((tensor, index) => {
  const need = needs[index];
  if (need.kind === "image") return `${need.columns} × ${need.rows} pixels`;
  return need.kind === "text" ? "text" : tensor.shape.length > 1 ? `${tensor.shape.slice(1).join(" × ")} values` : tensor.name;
});
const gives = model.outputs.map((output) => output.prediction === "softmax" ? count(output.shape.at(-1), "class").replace("classs", "classes") : count(size(output.shape), "value"));
const score = Object.entries(model.scores ?? {}).filter(([name]) => name !== "loss")[0];
$("about").textContent = [`${given.length > 3 ? count(given.length, "input") : given.join(", ")} → ${gives.join(", ")}`, score && `${score[0].replaceAll("_", " ")} ${score[1].toFixed(3)} on test data`].filter(Boolean).join(" · ");
if (model.token) { $("key").hidden = false; $("token").addEventListener("input", changed); }
build(false);
