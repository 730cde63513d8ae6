"use strict";
// Tables of the class sortable: a click on a column's name sorts by it, names from the first, numbers from the highest.
const NUMBER = /^([+-]?[\d.,]+( to .*|–.*)?|–?)$/; // or a range of such, or none
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => header.querySelector("button").addEventListener("click", () => {
    const before = header.getAttribute("aria-sort");
    const ascending = before ? before === "descending" : column === 0;
    for (const other of headers) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const cell = (row) => row.cells[column].textContent;
    const isText = [...table.tBodies[0].rows].some((row) => !NUMBER.test(cell(row)));
    const compare = column === 0 || isText ? byText : byNumber;
    const rows = [...table.tBodies[0].rows].sort((a, b) => compare(cell(a), cell(b), ascending ? 1 : -1));
    table.tBodies[0].append(...rows);
  }));
}

function byText(a, b, direction) {
  return direction * a.localeCompare(b, undefined, {numeric: true});
}

function byNumber(a, b, direction) {
  const [x, y] = [a, b].map((text) => parseFloat(text.replaceAll(",", "")));
  if (isNaN(x) || isNaN(y)) return isNaN(x) - isNaN(y); // what is no number comes last
  return direction * (x - y);
}
