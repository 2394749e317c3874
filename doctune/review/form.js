"use strict";
// Ratings stay in this browser until they are saved; nothing is sent anywhere.
const STORE = "doctune-review-" + SHEET.sheet;
const state = document.getElementById("state");
const rater = document.getElementById("rater");

function inputs() {
  return [...document.querySelectorAll("main input")];
}

function remember() {
  const kept = {"": rater.value};
  for (const input of inputs()) {
    if (input.type === "radio" ? input.checked : input.value) kept[input.name] = input.value;
  }
  try {
    localStorage.setItem(STORE, JSON.stringify(kept));
  } catch {
    state.textContent = "This browser keeps nothing between visits: save before you close the page.";
    return;
  }
  const rated = inputs().filter((input) => input.type === "radio" && input.checked).length;
  const wanted = SHEET.rows.reduce((sum, row) => sum + row.texts.length, 0);
  state.textContent = rated + " of " + wanted + " rated";
}

function recall() {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(STORE)) || {};
  } catch {
    kept = {};  // nothing kept, or not by this page: begin with an empty form
  }
  rater.value = kept[""] || "";
  for (const input of inputs()) {
    if (input.type === "radio") input.checked = kept[input.name] === input.value;
    else input.value = kept[input.name] || "";
  }
}

function cell(value) {
  const text = String(value);
  return /[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text;
}

function typed(value) {
  return /^[=+\-@\t\r']/.test(value) ? "'" + value : value;  // as the sheet does: no spreadsheet runs it
}

function csv() {
  const lines = [SHEET.columns];
  for (const row of SHEET.rows) {
    const line = [SHEET.sheet, row.item, row.english];
    for (let place = 0; place < SHEET.places; place++) {
      const chosen = document.querySelector('input[name="' + row.item + "-" + place + '"]:checked');
      line.push(row.texts[place] ?? "", chosen ? chosen.value : "");
    }
    const comment = document.querySelector('input[name="' + row.item + '-comment"]').value;
    lines.push([...line, typed(comment), typed(rater.value.trim())]);
  }
  return "\ufeff" + lines.map((line) => line.map(cell).join(",")).join("\r\n") + "\r\n";
}

function save() {
  if (!rater.value.trim()) {
    state.textContent = "Your name is missing.";
    rater.focus();
    return;
  }
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([csv()], {type: "text/csv"}));
  link.download = "review-" + (rater.value.trim().replace(/[^\p{L}\p{N}]+/gu, "-") || "rater") + ".csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

recall();
remember();
document.addEventListener("input", remember);
document.getElementById("save").addEventListener("click", save);
