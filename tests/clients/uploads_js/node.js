// node node.js URL FILE SCRIPT: prints what the script returns. NODE_PATH names the packages.
const fs = require("fs");
const tus = require("tus-js-client");
const inUploads = require("./uploads.js");

const [url, path, script] = process.argv.slice(2);
// Node remembers uploads in a file, where it is told one.
const remembering = {urlStorage: new tus.FileUrlStorage(`${path}.urls`)};
const content = fs.readFileSync(path);
const names = {remembering, twice: Buffer.concat([content, content])};
inUploads(tus, content, url, script, names).then(
  found => console.log(JSON.stringify(found))
);
