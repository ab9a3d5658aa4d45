// Looks at pages as a reader's browser does: node look.mjs BROWSER PAGE.html…
//
// Each page is opened from disk in light and dark, wide and narrow, and its findings are written to stdout as JSON:
// messages of the console, requests for anything else than the page, violations that axe-core calls serious or
// critical, a page that is wider than its window, gates that are wider than the page, a keyboard that has to pass
// everything to reach the content, and what its script doesn't do. No findings: [].
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import puppeteer from "puppeteer-core";

const [executablePath, ...pages] = process.argv.slice(2);
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
// Contrast depends on the scheme and the layout on the width, so that two of the four are checked for violations.
const LOOKS = [
  { scheme: "light", width: 1300, isChecked: true },
  { scheme: "dark", width: 400, isChecked: true },
  { scheme: "light", width: 400, isChecked: false },
  { scheme: "dark", width: 1300, isChecked: false },
];
// A page is on the screen within a second on a machine that does nothing else; this one runs other tests.
const MOST_MS = 5000;

// Chromium's sandbox refuses the administrator, who runs the tests in a container.
const args = process.getuid?.() === 0 ? ["--no-sandbox"] : [];
const browser = await puppeteer.launch({ executablePath, args, headless: true });
const findings = [];
try {
  for (const path of pages) {
    for (const look of LOOKS) {
      const found = await lookAt(path, look);
      findings.push(...found.map((what) => `${path} (${look.scheme}, ${look.width} wide): ${what}`));
    }
    findings.push(...(await withoutScript(path)).map((what) => `${path} (without its script): ${what}`));
  }
} finally {
  await browser.close();
}
console.log(JSON.stringify(findings));

async function lookAt(path, { scheme, width, isChecked }) {
  const found = [];
  const url = pathToFileURL(path).href;
  const page = await browser.newPage();
  try {
    await page.setViewport({ width, height: 900 });
    await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
    page.on("console", (message) => found.push(`console: ${message.text()}`));
    page.on("pageerror", (error) => found.push(`error: ${error.message}`));
    page.on("request", (request) => {
      if (request.url().split("#")[0] !== url && !request.url().startsWith("data:")) found.push(`asks for ${request.url()}`);
    });
    const begun = performance.now();
    await page.goto(url, { waitUntil: "load" });
    const took = performance.now() - begun;
    if (took > MOST_MS) found.push(`took ${Math.round(took)} ms to load`);
    const [content, window] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    if (content > window) found.push(`is ${content} wide in a window of ${window}`);
    const [gates, seen] = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.querySelector("#gates .scroll") ?? {};
      return [scrollWidth, clientWidth];
    });
    if (gates > seen) found.push(`only ${seen} of ${gates} pixels of the gates are seen`);
    await page.keyboard.press("Tab");
    if (!(await page.evaluate(isAtSkipLink))) found.push("the first stop of the keyboard is no visible way to the content");
    if (isChecked) found.push(...(await violations(page)));
    found.push(...(await page.evaluate(behaves)));
    // An address that was cut off in its middle leads nowhere, and that is no error.
    await page.evaluate(() => new Promise((done) => {
      addEventListener("hashchange", done, { once: true });
      location.hash = "#%";
    }));
  } finally {
    await page.close();
  }
  return found;
}

// Through the debugger's protocol, which the page's policy doesn't hold back.
async function violations(page) {
  await page.evaluate(axe);
  const { violations } = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `axe: ${id}: ${nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(" | ")}`);
}

// Whoever reads without scripts has all that is there: nothing is hidden until one runs.
async function withoutScript(path) {
  const page = await browser.newPage();
  try {
    await page.setJavaScriptEnabled(false);
    await page.goto(pathToFileURL(path).href, { waitUntil: "load" });
    const hidden = await page.$$eval("main section, main table, main figure", (all) =>
      all.filter((one) => !one.closest("details:not([open])") && one.getBoundingClientRect().height === 0).length,
    );
    return hidden === 0 ? [] : [`${hidden} sections, tables or figures can't be seen`];
  } finally {
    await page.close();
  }
}

// Runs in the page.
function isAtSkipLink() {
  const stop = document.activeElement;
  const { left, top } = stop.getBoundingClientRect();
  return stop.matches("a.skip") && left >= 0 && top >= 0;
}

// Runs in the page. Whatever it opens or sorts, the next page begins anew.
function behaves() {
  const wrong = [];
  const check = (holds, what) => holds || wrong.push(what);
  for (const table of document.querySelectorAll("main table")) {
    const button = table.querySelector("th.num button.sort");
    if (!button || table.closest("details:not([open])")) continue;
    const head = button.closest("th");
    const at = head.cellIndex;
    const values = () => [...table.tBodies[0].rows].map((row) => row.cells[at].dataset.v).filter((value) => value !== undefined).map(Number);
    if (values().length < 2) continue;
    button.click();
    const down = values();
    check(down.every((value, n) => n === 0 || down[n - 1] >= value), `${table.caption.textContent}: not sorted downwards`);
    check(head.getAttribute("aria-sort") === "descending", "the sorted column isn't said to be");
    button.click();
    const up = values();
    check(up.every((value, n) => n === 0 || up[n - 1] <= value), `${table.caption.textContent}: not sorted upwards`);
  }
  for (const figure of document.querySelectorAll("figure")) {
    const title = figure.querySelector("strong").textContent;
    const plot = figure.querySelector(".plot");
    if (figure.closest("details:not([open])")) continue;
    if (figure.querySelector("[data-told]")) {
      const box = figure.querySelector(".plot svg").getBoundingClientRect();
      const middle = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2 };
      plot.dispatchEvent(new PointerEvent("pointermove", middle));
      const tip = document.querySelector(".tip");
      check(!tip.hidden && tip.querySelectorAll("dd").length > 0, `${title}: tells no value`);
      const told = [...figure.querySelectorAll("[data-told]")].map((line) => line.dataset.told).join(";");
      for (const value of tip.querySelectorAll("dd")) check(told.includes(`=${value.textContent}`), `${title}: tells ${value.textContent}, which was not drawn`);
      plot.dispatchEvent(new PointerEvent("pointerleave"));
      check(tip.hidden, `${title}: its values stay`);
      plot.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" }));
      check(!tip.hidden, `${title}: has no values for the keyboard`);
      plot.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
    }
    const toggle = figure.querySelector("button.toggle");
    if (toggle) {
      const name = toggle.closest("li").dataset.class;
      const marks = () => [...figure.querySelectorAll(`.plot .s-${name}, .plot .f-${name}`)];
      const shown = () => marks().filter((mark) => getComputedStyle(mark).display !== "none").length;
      const before = shown();
      toggle.click();
      check(before === 0 || shown() === 0, `${title}: ${name} can't be hidden`);
      toggle.click();
      check(shown() === before, `${title}: ${name} doesn't come back`);
    }
  }
  for (const link of document.querySelectorAll("main a[href^='#']")) {
    check(document.getElementById(link.getAttribute("href").slice(1)), `${link.getAttribute("href")} leads nowhere`);
  }
  return wrong;
}
