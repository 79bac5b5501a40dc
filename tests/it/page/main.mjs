// Leads Chromium through the promises of the page. The argument is a JSON object: where the daemons
// are, the key, the browser. Each promise gives a line {promise, ok, detail}; a line {do: …} asks the
// story to break or to mend something, which answers with a line.

import { World } from "./world.mjs";
import { promises as looking } from "./looking.mjs";
import { promises as finding } from "./finding.mjs";
import { promises as acting } from "./acting.mjs";
import { promises as quick } from "./quick.mjs";
import { promises as living } from "./living.mjs";
import { takePictures } from "./pictures.mjs";

const settings = JSON.parse(process.argv[2]);
const world = await World.start(settings);
try {
  if (settings.pictures) await takePictures(world, settings.pictures);
  // What breaks the shop comes last.
  for (const [promise, keep] of [...finding, ...looking, ...quick, ...acting, ...living]) {
    if (!settings.only.some((word) => promise.includes(word))) continue;
    await world.keep(promise, keep);
  }
} finally {
  await world.end();
}
