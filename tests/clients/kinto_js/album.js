// Runs a script with kinto.js: in Node as a module, in a page as `inAlbum`. The script is the body
// of an async function; what it returns must be JSON.
async function inAlbum(kinto, options, url, script) {
  const headers = {Authorization: "Basic " + btoa("owner:secret")};
  const client = new kinto.KintoClient(url, {headers});
  const names = {
    client,
    album: client.bucket("clients").collection("album"),
    offline: () => new kinto.default({remote: url, bucket: "clients", headers, ...options}),
    uri: (content, type) => `data:${type};base64,${btoa(content)}`,
    // What a refusal tells.
    refusal: promise => promise.then(
      () => "accepted",
      error => ({
        kind: error.constructor.name,
        status: error.response.status,
        etag: error.response.headers.get("ETag"),
        errno: error.data.errno,
        message: error.message,
      })
    ),
  };
  const AsyncFunction = (async () => {}).constructor;
  return new AsyncFunction(...Object.keys(names), script)(...Object.values(names));
}

if (typeof module !== "undefined") {
  module.exports = inAlbum;
}
