/* How a page keeps files on the server, in a collection of the user's own bucket.
   URLs are relative to the page's own, …/v1/attachments/: so it works behind any proxy. */

const FIRST_PAGE = "?has_attachment=true&_sort=-last_modified&_limit=24";
const UNREACHABLE = "The server can't be reached: look at your connection, and try again.";
const UNSENT = "The file was not sent: look at your connection, and whether the file is still there.";

/** What HTTP calls Basic, for names and passwords in any alphabet. */
export function basic(name, password) {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  return `Basic ${btoa(String.fromCharCode(...bytes))}`;
}

/** An id for a new record. crypto.randomUUID() is for https alone. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The server said no, in its own words. `stale`: the record is another one by now, or gone. */
export class Refusal extends Error {
  constructor(status, body) {
    super(body?.message ?? `The server answers with status ${status}.`);
    this.stale = status === 412 || status === 404;
  }
}

export class Files {
  constructor({ authorization, collection }) {
    this.authorization = authorization;
    this.records = `../buckets/default/collections/${collection}/records`;
  }

  /** Who signed in, with `bucket` where the server has default buckets; else undefined. */
  async user() {
    return (await this.#ask("GET", "../")).body?.user;
  }

  /** Records with files, the newest first, and what to ask for to get more of them. */
  async list(page = FIRST_PAGE) {
    const { body, headers } = await this.#ask("GET", this.records + page);
    const next = headers.get("Next-Page");
    const records = body.data.filter((record) => record.attachment);
    return { records, next: next && new URL(next).search };
  }

  /** A URL that opens a file without a password, and for how many seconds. */
  async link(id) {
    const { body } = await this.#ask("POST", `${this.records}/${id}/attachment/link`);
    const path = body.data.url.replace(/^.*?(?=\/buckets\/)/, ""); // The host stays the page's.
    return { url: new URL(`..${path}`, location.href).href, seconds: body.data.expires_in };
  }

  /** Remove a record and its file, unless somebody has changed it. */
  async remove(record) {
    await this.#ask("DELETE", `${this.records}/${record.id}`, Files.#unchanged(record));
  }

  /** Attach a file to a new record, or to an old one in place of its file; returns the record.
      fetch() would not tell how much of the file is sent. */
  upload(file, id, old, signal, progressed) {
    const form = new FormData();
    form.append("attachment", file);
    const request = new XMLHttpRequest();
    request.open("POST", `${this.records}/${id}/attachment`);
    request.responseType = "json";
    const headers = this.#headers(old ? Files.#unchanged(old) : { "If-None-Match": "*" });
    Object.entries(headers).forEach((header) => request.setRequestHeader(...header));
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      signal.onabort = () => { request.abort(); reject(signal.reason); };
      request.upload.onprogress = (event) => progressed(event.loaded / event.total);
      request.onerror = () => reject(new Error(UNSENT));
      request.onload = () => {
        const { status, response } = request;
        if (status !== 201 && status !== 200) return reject(new Refusal(status, response));
        const last_modified = Number(request.getResponseHeader("ETag").replaceAll('"', ""));
        return resolve({ id, last_modified, attachment: response });
      };
      request.send(form);
    });
  }

  static #unchanged(record) {
    return { "If-Match": `"${record.last_modified}"` };
  }

  #headers(more) {
    return { Authorization: this.authorization, ...more };
  }

  async #ask(method, url, more = {}) {
    const how = { method, headers: this.#headers(more), credentials: "omit" };
    const response = await fetch(url, how).catch(() => { throw new Error(UNREACHABLE); });
    const body = await response.json().catch(() => null);
    if (!response.ok) throw new Refusal(response.status, body);
    return { body, headers: response.headers };
  }
}
