// The pictures of docs/page.md.

import { mkdirSync } from "node:fs";
import { WIDTHS, Visit, until } from "./world.mjs";
import { pages } from "./looking.mjs";

/** How much of a page a picture shows, at most, in pixels. */
const TALLEST = { wide: 1300, narrow: 1100 };

/** Which pages, and where the dark comes. */
const TAKEN = {
  overview: ["wide", "narrow", "narrow-dark"],
  check: ["wide", "narrow"],
  "check-well": ["wide-dark"],
  incidents: ["wide", "narrow"],
  incident: ["wide", "narrow"],
  notices: ["wide", "narrow"],
  status: ["wide", "narrow", "wide-dark"],
  "sign-in": ["wide", "narrow"],
};

export async function takePictures(world, folder) {
  mkdirSync(folder, { recursive: true });
  const all = await pages(world);
  for (const [name, ways] of Object.entries(TAKEN)) {
    for (const way of ways) {
      const [size, dark] = way.split("-");
      const visit = new Visit(world, await world.browser.createBrowserContext());
      const width = WIDTHS[size];
      // A browser draws what is in its window.
      const tallest = TALLEST[size];
      const page = await visit.open(all[name], { width, tall: tallest, dark: dark !== undefined });
      await until("the history", async () => !(await page.$("[data-partial]")));
      // What moves in is there by then.
      await new Promise((done) => setTimeout(done, 600));
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      await page.screenshot({
        path: `${folder}/${name}-${way}.png`,
        captureBeyondViewport: true,
        clip: { x: 0, y: 0, width, height: Math.min(height, tallest) },
      });
      await visit.context.close();
    }
  }
}
