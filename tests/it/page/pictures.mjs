// The pictures of docs/page.md.

import { mkdirSync } from "node:fs";
import { WIDTHS, Visit } from "./world.mjs";
import { pages } from "./looking.mjs";

/** How much of a page a picture shows, at most, in pixels. */
const TALLEST = { [WIDTHS.wide]: 1400, [WIDTHS.narrow]: 1600 };

export async function takePictures(world, folder) {
  mkdirSync(folder, { recursive: true });
  const all = await pages(world);
  for (const [name, path] of Object.entries(all)) {
    for (const [size, width] of Object.entries(WIDTHS)) {
      for (const dark of [false, true]) {
        const visit = new Visit(world, await world.browser.createBrowserContext());
        const page = await visit.open(path, { width, dark });
        await new Promise((done) => setTimeout(done, 300));
        const height = await page.evaluate(() => document.documentElement.scrollHeight);
        await page.screenshot({
          path: `${folder}/${name}-${size}${dark ? "-dark" : ""}.png`,
          captureBeyondViewport: true,
          clip: { x: 0, y: 0, width, height: Math.min(height, TALLEST[width]) },
        });
        await visit.context.close();
      }
    }
  }
}
