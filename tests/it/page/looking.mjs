// How the pages look, and whether all can read them.

import { WIDTHS, assert } from "./world.mjs";

/** Every page there is, by what it is called in docs/page.md. */
export async function pages(world) {
  const { items: open } = await world.api("/api/v1/incidents?state=open");
  const { items: over } = await world.api("/api/v1/incidents?state=resolved");
  const of = (incidents, check) => incidents.find((it) => it.check === check);
  return {
    overview: "/",
    "overview-found": "/?q=payments&status=down",
    "overview-none": "/?q=nothing-is-called-so",
    check: "/checks/payments-api",
    "check-well": "/checks/storefront",
    "check-year": "/checks/search?span=1y",
    "check-paused": "/checks/legacy-ftp",
    incidents: "/incidents",
    incident: `/incidents/${of(open, "payments-api").id}`,
    "incident-over": `/incidents/${of(over, "search").id}`,
    notices: "/notices",
    status: "/status",
    "sign-in": "/sign-in",
    nobody: "/checks/nobody",
  };
}

/** Breaches of WCAG and of good practice that axe finds, a line each. */
async function breaches(world, page) {
  await page.evaluate(world.axe);
  const { violations } = await page.evaluate(() =>
    globalThis.axe.run(document, { resultTypes: ["violations"] }),
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.slice(0, 3).map((node) => `${id}: ${node.html.slice(0, 160)}: ${node.failureSummary}`),
  );
}

const everywhere = (look) => async (visit) => {
  const found = [];
  for (const [name, path] of Object.entries(await pages(visit.world))) {
    for (const complaint of await look(visit, path, name)) found.push(`${name}: ${complaint}`);
  }
  assert.deepEqual(found, []);
};

const axe = (width, dark) =>
  everywhere(async (visit, path) => {
    const page = await visit.open(path, { width, dark });
    const found = await breaches(visit.world, page);
    await page.close();
    return found;
  });

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

export const promises = [
  ["axe_finds_nothing_on_a_wide_screen_in_light", axe(WIDTHS.wide, false)],
  ["axe_finds_nothing_on_a_wide_screen_in_dark", axe(WIDTHS.wide, true)],
  ["axe_finds_nothing_on_a_phone_in_light", axe(WIDTHS.narrow, false)],
  ["axe_finds_nothing_on_a_phone_in_dark", axe(WIDTHS.narrow, true)],
  [
    "no_page_scrolls_sideways_on_a_phone",
    everywhere(async (visit, path) => {
      const found = [];
      for (const width of [WIDTHS.narrow, 320]) {
        const page = await visit.open(path, { width });
        for (const it of await page.evaluate(overflow)) found.push(`at ${width} px: ${it}`);
        await page.close();
      }
      return found;
    }),
  ],
  [
    "dark_pages_are_dark_and_light_ones_light",
    everywhere(async (visit, path) => {
      const ground = async (dark) => {
        const page = await visit.open(path, { dark });
        const light = await page.evaluate(() => {
          const canvas = new OffscreenCanvas(1, 1).getContext("2d");
          canvas.fillStyle = getComputedStyle(document.body).backgroundColor;
          canvas.fillRect(0, 0, 1, 1);
          return canvas.getImageData(0, 0, 1, 1).data.slice(0, 3).reduce((a, b) => a + b) / 3;
        });
        await page.close();
        return light;
      };
      const [light, dark] = [await ground(false), await ground(true)];
      return light > 200 && dark < 60 ? [] : [`the ground is ${light} and ${dark} of 255`];
    }),
  ],
  [
    "no_page_shifts_while_it_loads",
    everywhere(async (visit, path) => {
      const page = await visit.open(path);
      await new Promise((done) => setTimeout(done, 300));
      const { shift, shifted } = await page.evaluate(() => globalThis.seen);
      await page.close();
      return shift > 0 ? [`shifts by ${shift.toFixed(4)}: ${shifted}`] : [];
    }),
  ],
  [
    "every_page_reads_well_without_scripts",
    everywhere(async (visit, path) => {
      const page = await visit.open(path, { script: false });
      const seen = await page.evaluate(() => ({
        heading: document.querySelectorAll("h1").length,
        words: document.querySelector("main")?.innerText.trim().length ?? 0,
        title: document.title,
        landmarks: document.querySelectorAll("header, nav, main, footer").length,
        dead: [...document.querySelectorAll("a")].filter((a) => !a.getAttribute("href")).length,
      }));
      await page.close();
      const fine = seen.heading === 1 && seen.words > 20 && seen.title && !seen.dead;
      return fine && seen.landmarks >= 4 ? [] : [JSON.stringify(seen)];
    }),
  ],
];
