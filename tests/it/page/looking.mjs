// How the pages look, and whether all can read them.

import { WIDTHS, assert, signIn } from "./world.mjs";

/** Every page there is. Those called acting are for whoever is signed in. */
export async function pages(world) {
  const { items: open } = await world.api("/api/v1/incidents?state=open");
  const { items: over } = await world.api("/api/v1/incidents?state=resolved");
  const of = (incidents, check) => incidents.find((it) => it.check === check);
  return {
    overview: "/",
    "overview-found": "/?q=payments&status=down",
    check: "/checks/payments-api",
    "check-well": "/checks/storefront",
    "check-acting": "/checks/legacy-ftp?span=1y",
    incidents: "/incidents",
    incident: `/incidents/${of(open, "payments-api").id}`,
    "incident-over": `/incidents/${of(over, "search").id}`,
    "incident-acting": `/incidents/${of(open, "feed-trades").id}`,
    notices: "/notices",
    "notices-acting": "/notices",
    status: "/status",
    "sign-in": "/sign-in",
    nobody: "/checks/nobody",
  };
}

/** Breaches of WCAG and of good practice that axe finds, a line each. */
async function breaches(world, page, options = {}) {
  await page.evaluate(world.axe);
  const { violations } = await page.evaluate((options) => {
    // What is out of sight is laid out as well, so that it is judged.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync("* { content-visibility: visible !important; }");
    document.adoptedStyleSheets = [sheet];
    return globalThis.axe.run(document, { resultTypes: ["violations"], ...options });
  }, options);
  return violations.flatMap(({ id, nodes }) =>
    nodes.slice(0, 3).map((node) => `${id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`),
  );
}

/** What sticks out to the right of the window. */
function overflow() {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  // Whoever scrolls by itself is no trouble.
  const scrolls = (element) =>
    element && (getComputedStyle(element).overflowX !== "visible" || scrolls(element.parentElement));
  return [...document.querySelectorAll("body *")]
    .filter((it) => it.getBoundingClientRect().right > width + 1 && !scrolls(it.parentElement))
    .slice(0, 5)
    .map((it) => it.outerHTML.slice(0, 160))
    .concat(`${document.documentElement.scrollWidth} px of ${width}`);
}

/** How light the ground of a page is, of 255. */
function ground() {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d");
  canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
  canvas.fillRect(0, 0, 1, 1);
  return canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((sum, part) => sum + part) / 3;
}

/** What a page is without scripts. */
const plain = () => ({
  headings: document.querySelectorAll("h1").length,
  words: document.querySelector("main")?.textContent.trim().length ?? 0,
  title: document.title,
  landmarks: document.querySelectorAll("header, nav, main, footer").length,
  dead: [...document.querySelectorAll("a")].filter((a) => !a.getAttribute("href")).length,
});

/** Looks at one page in each way, and gives what is wrong with it, by promise. */
async function look(visit, path) {
  const wrong = {};
  for (const [size, width] of Object.entries(WIDTHS)) {
    const page = await visit.open(path, { width });
    // What moves in is there by then, and is no colour in between.
    await new Promise((done) => setTimeout(done, 300));
    const { shift, shifted } = await page.evaluate(() => globalThis.seen);
    wrong[SHIFTS] ??= [];
    // Times are written anew in the zone of the reader, which may take a line less on a phone. What web.dev
    // calls good is below this; what jumps in is above.
    if (shift > 0.1) wrong[SHIFTS].push(`${size}: by ${shift.toFixed(4)}: ${shifted}`);
    const lights = [];
    for (const theme of ["light", "dark"]) {
      await page.emulateMediaFeatures([
        { name: "prefers-color-scheme", value: theme },
        { name: "prefers-reduced-motion", value: "reduce" },
      ]);
      lights.push(Math.round(await page.evaluate(ground)));
      // Colours are all that changes.
      const again = theme === "dark" ? { runOnly: { type: "rule", values: ["color-contrast"] } } : {};
      wrong[axe(size, theme)] = await breaches(visit.world, page, again);
    }
    wrong[DARK] = lights[0] > 200 && lights[1] < 60 ? [] : [`the ground is ${lights} of 255`];
    if (width === WIDTHS.narrow) {
      wrong[SIDEWAYS] = [];
      for (const width of [WIDTHS.narrow, 320]) {
        await page.setViewport({ width, height: 800 });
        const found = await page.evaluate(overflow);
        wrong[SIDEWAYS].push(...found.map((it) => `at ${width} px: ${it}`));
      }
    }
    await page.close();
  }
  const page = await visit.open(path, { script: false });
  const seen = await page.evaluate(plain);
  await page.close();
  const reads = seen.headings === 1 && seen.words > 20 && seen.title && seen.landmarks >= 2;
  wrong[PLAIN] = reads && !seen.dead ? [] : [JSON.stringify(seen)];
  return wrong;
}

/** All pages, looked at a few at a time, once for all promises. */
let looked;
function lookAtAll(visit) {
  looked ??= (async () => {
    const rest = Object.entries(await pages(visit.world));
    const wrong = {};
    const signedIn = await visit.another();
    await signIn(signedIn, visit.world.key);
    const work = async () => {
      for (let next = rest.shift(); next; next = rest.shift()) {
        const [name, path] = next;
        const who = name.endsWith("-acting") ? signedIn : visit;
        for (const [promise, complaints] of Object.entries(await look(who, path))) {
          (wrong[promise] ??= []).push(...complaints.map((it) => `${name}: ${it}`));
        }
      }
    };
    await Promise.all([work(), work(), work()]);
    await signedIn.context.close();
    return wrong;
  })();
  return looked;
}

const axe = (size, theme) => `axe_finds_nothing_on_a_${size}_screen_in_the_${theme}`;
const SHIFTS = "no_page_shifts_while_it_loads";
const DARK = "dark_pages_are_dark_and_light_ones_light";
const SIDEWAYS = "no_page_scrolls_sideways_on_a_phone";
const PLAIN = "every_page_reads_well_without_scripts";

export const promises = [
  axe("wide", "light"),
  axe("wide", "dark"),
  axe("narrow", "light"),
  axe("narrow", "dark"),
  SHIFTS,
  DARK,
  SIDEWAYS,
  PLAIN,
].map((promise) => [
  promise,
  async (visit) => {
    const wrong = (await lookAtAll(visit))[promise];
    assert.deepEqual(wrong, []);
  },
]);
