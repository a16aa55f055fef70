/* One request that says how much of its body is sent, which fetch() does not. */

export const UNSENT = "The file was not sent: look at your connection, and whether the file is still there.";

/** The server said no, in its own words. `stale`: the record is another one by now, or gone. */
export class Refusal extends Error {
  constructor(status, body) {
    super(body?.message ?? `The server answers with status ${status}.`);
    this.status = status;
    this.reason = body?.details?.reason;
    this.stale = status === 412 || status === 404;
  }
}

/** No answer came: another try may do better. */
export class Unsent extends Error {
  constructor() {
    super(UNSENT);
  }
}

/** Send it; returns the answer, with `status`, `body` and `header(name)`. */
export function send(method, url, headers, { body = null, signal, progressed } = {}) {
  const request = new XMLHttpRequest();
  request.open(method, url);
  request.responseType = "json";
  Object.entries(headers).forEach((header) => request.setRequestHeader(...header));
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    if (signal) signal.onabort = () => { request.abort(); reject(signal.reason); };
    request.upload.onprogress = (event) => progressed?.(event.loaded, event.total);
    request.onerror = () => reject(new Unsent());
    request.onload = () => {
      const { status, response } = request;
      if (status >= 400) return reject(new Refusal(status, response));
      return resolve({ status, body: response, header: (name) => request.getResponseHeader(name) });
    };
    request.send(body);
  });
}
