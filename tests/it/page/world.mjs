// What the promises stand on: the browser, pages that tell what went wrong in them, and the story.

import { strict as assert } from "node:assert";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

// What npm has put elsewhere is found from there.
const require = createRequire(`${process.env.WATCHBELL_TEST_NODE}/`);
const load = async (name) => import(pathToFileURL(require.resolve(name)));

/** How long a page may take to come to what should come soon, in milliseconds. */
const PATIENCE = 20_000;

/** A phone, and a desk. */
export const WIDTHS = { narrow: 390, wide: 1280 };

export class World {
  static async start(settings) {
    const world = new World();
    Object.assign(world, settings);
    const { default: puppeteer } = await load("puppeteer-core");
    world.axe = (await load("axe-core")).default.source;
    world.browser = await puppeteer.launch({
      executablePath: settings.chromium,
      // It ends with this process, however that ends.
      pipe: true,
      userDataDir: `${settings.profile}/chromium`,
      args: [
        ...(settings.root ? ["--no-sandbox"] : []),
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--no-proxy-server",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        "--force-color-profile=srgb",
        "--lang=en-GB",
      ],
    });
    world.answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
    return world;
  }

  async end() {
    await this.browser.close();
    process.stdin.destroy();
  }

  /** Asks the story for what a browser cannot do. */
  async ask(order, more = {}) {
    process.stdout.write(`${JSON.stringify({ do: order, ...more })}\n`);
    return JSON.parse((await this.answers.next()).value);
  }

  /** What the API answers to a GET. */
  api(path) {
    return this.ask("api", { path });
  }

  /** Tries a promise, with cookies and pages of its own. */
  async keep(promise, keep) {
    const began = Date.now();
    const say = (ok, detail) => {
      const seconds = ((Date.now() - began) / 1000).toFixed(1);
      const all = `${detail ?? ""} (${seconds} s)`.trim();
      process.stdout.write(`${JSON.stringify({ promise, ok, detail: all })}\n`);
    };
    const visit = new Visit(this, await this.browser.createBrowserContext());
    try {
      const detail = await keep(visit);
      assert.deepEqual(visit.complaints, [], "what the pages complained of");
      say(true, detail);
    } catch (error) {
      say(false, error.stack ?? String(error));
    } finally {
      await visit.context.close();
    }
  }
}

/** Somebody with a browser, who comes, looks, and goes. */
export class Visit {
  constructor(world, context) {
    this.world = world;
    this.context = context;
    this.complaints = [];
  }

  /** Somebody else, whose complaints are heard here. */
  async another() {
    const other = new Visit(this.world, await this.world.browser.createBrowserContext());
    other.complaints = this.complaints;
    return other;
  }

  /** A page of the shop, or of the daemon at `base`. */
  async open(path, how = {}) {
    const { width = WIDTHS.wide, dark = false, script = true, zone = "UTC" } = how;
    const { base = this.world.shop, tall = width < 600 ? 844 : 900 } = how;
    const page = await this.context.newPage();
    page.setDefaultTimeout(PATIENCE);
    await page.setViewport({ width, height: tall });
    await page.emulateMediaFeatures([
      { name: "prefers-color-scheme", value: dark ? "dark" : "light" },
    ]);
    await page.emulateTimezone(zone);
    const session = await page.createCDPSession();
    await session.send("Emulation.setLocaleOverride", { locale: "en-GB" });
    await page.setJavaScriptEnabled(script);
    page.on("pageerror", (error) => this.complaints.push(`${path}: ${error.message}`));
    page.on("console", (message) => {
      const text = message.text();
      // What is not there was asked for on purpose, and what breaks is broken on purpose.
      if (message.type() === "error" && !text.startsWith("Failed to load resource")) {
        this.complaints.push(`${path}: ${text}`);
      }
    });
    await page.evaluateOnNewDocument(watch);
    page.answer = await page.goto(base + path, { waitUntil: "load" });
    return page;
  }
}

/** Opens a session with a key. */
export async function signIn(visit, key, options = {}) {
  const page = await visit.open("/sign-in", options);
  await page.type("input[type=password]", key);
  await Promise.all([page.waitForNavigation(), page.click("main form button")]);
  return page;
}

/** Runs in the page before anything else: notes how much it shifts, and what takes long. */
function watch() {
  globalThis.seen = { shift: 0, shifted: [], long: [] };
  const observe = (type, note) => {
    new PerformanceObserver((list) => list.getEntries().forEach(note)).observe({
      type,
      buffered: true,
    });
  };
  observe("layout-shift", (entry) => {
    if (entry.hadRecentInput) return;
    globalThis.seen.shift += entry.value;
    for (const { node } of entry.sources) globalThis.seen.shifted.push(node?.outerHTML?.slice(0, 120));
  });
  observe("longtask", (entry) => globalThis.seen.long.push(Math.round(entry.duration)));
}

/** Waits until `probe` gives something that is true, and gives that. */
export async function until(what, probe, within = PATIENCE) {
  const end = Date.now() + within;
  let last;
  while (Date.now() < end) {
    try {
      const found = await probe();
      if (found) return found;
      last = undefined;
    } catch (error) {
      // A page that loads anew has no content for a moment.
      last = error;
    }
    await new Promise((done) => setTimeout(done, 40));
  }
  assert.fail(`waited ${within} ms in vain for ${what}${last ? `: ${last.message}` : ""}`);
}

/** What a page says as text; also what is out of sight, which a browser may not have laid out yet. */
export const text = (page, selector = "body") =>
  page.$eval(selector, (element) => element.textContent.replace(/\s+/g, " ").trim());

export { assert, load };
