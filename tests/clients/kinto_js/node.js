// node node.js URL SCRIPT: prints what the script returns. NODE_PATH names the packages.
const kinto = require("kinto");
const Memory = require("kinto/lib/cjs/adapters/memory").default;
const inAlbum = require("./album.js");

const [url, script] = process.argv.slice(2);
const options = {adapter: () => new Memory()}; // Node has no IndexedDB.
inAlbum(kinto, options, url, script).then(found => console.log(JSON.stringify(found)));
