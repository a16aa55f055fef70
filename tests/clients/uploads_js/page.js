// What a page has: tus-js-client, and Uppy, bundled by esbuild.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";
import * as tus from "tus-js-client";

// Uploads with Uppy. Tells how it ended; `during` may act meanwhile.
async function uppy(endpoint, headers, content, options = {}, during = () => {}) {
  const made = new Uppy({autoProceed: false}).use(Tus, {
    endpoint,
    headers,
    chunkSize: 100_000,
    retryDelays: [0, 0, 0],
    ...options,
  });
  made.addFile({name: "a.bin", type: "application/octet-stream", data: content});
  let answer = null;
  made.on("upload-success", (file, {body}) => { answer = body.xhr.responseText });
  made.on("upload-error", (file, error, response) => { answer = response?.body.xhr.responseText });
  during(made);
  const {successful, failed} = await made.upload();
  const errors = failed.map(file => file.error);
  return {ended: failed.length ? "error" : "success", count: successful.length, errors, answer};
}

window.run = async (url, script) => {
  const found = await (await fetch("/content.bin")).blob();
  const content = new File([found], "a.bin", {lastModified: 1});
  const twice = new File([found, found], "a.bin");
  return inUploads(tus, content, url, script, {uppy, remembering: {}, twice});
};
