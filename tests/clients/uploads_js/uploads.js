// Runs a script with tus-js-client: in Node as a module, in a page as `inUploads`. The script is
// the body of an async function; what it returns must be JSON. `url` is that of the records.
async function inUploads(tus, content, url, script, names = {}) {
  const headers = {Authorization: "Basic " + btoa("owner:secret")};
  const attachment = record => `${url}/${record}/attachment`;

  const byDraft = (record, version) =>
    ({protocol: `ietf-draft-${version}`, endpoint: attachment(record)});

  // An upload to a record. `end` and `pause` (as soon as a part was taken) tell how it went, and
  // which requests there were meanwhile.
  function upload(record, {file = content, ...options} = {}) {
    const asked = [];
    let told;
    const one = new tus.Upload(file, {
      endpoint: `${attachment(record)}/uploads`,
      headers,
      retryDelays: [0, 0, 0],
      chunkSize: 100_000,
      metadata: {filename: "a.bin"},
      onBeforeRequest: request => { asked.push(request.getMethod()) },
      onSuccess: ({lastResponse}) => told({ended: "success", answer: lastResponse.getBody()}),
      onError: error => told({
        ended: "error",
        status: error.originalResponse?.getStatus(),
        answer: error.originalResponse?.getBody(),
        message: error.message,
      }),
      ...options,
    });
    const hear = act => new Promise((done, failed) => {
      told = found => done({...found, url: one.url, asked: asked.splice(0)});
      Promise.resolve(act()).catch(failed);
    });
    const stopAfter = name => hear(() => {
      one.options[name] = async () => {
        one.options[name] = null;
        await one.abort();
        told({ended: "pause"});
      };
      one.start();
    });
    return {
      one,
      hear,
      end: () => hear(() => one.start()),
      pause: () => stopAfter("onChunkComplete"),
      create: () => stopAfter("onUploadUrlAvailable"),
      again: async () => {
        const [found] = await one.findPreviousUploads();
        if (!found) return null;
        one.resumeFromPreviousUpload(found);
        return hear(() => one.start());
      },
    };
  }

  const all = {tus, content, headers, attachment, byDraft, upload, ...names};
  const AsyncFunction = (async () => {}).constructor;
  return new AsyncFunction(...Object.keys(all), script)(...Object.values(all));
}

if (typeof module !== "undefined") {
  module.exports = inUploads;
}
