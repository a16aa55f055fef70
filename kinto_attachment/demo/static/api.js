/* How a page keeps files on the server, in a collection of the user's own bucket.
   URLs are relative to the page's own, …/v1/attachments/: so it works behind any proxy. */

import { Refusal, send } from "./send.js";
import { Upload } from "./tus.js";
import { Unfinished } from "./unfinished.js";

const FIRST_PAGE = "?has_attachment=true&_sort=-last_modified&_limit=24";
const UNREACHABLE = "The server can't be reached: look at your connection, and try again.";
const LARGE = 8_000_000; // Bytes above which a file goes in several requests.
const ENDED = [400, 404, 410, 412, 413]; // Statuses after which no upload goes on.

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

export class Files {
  constructor({ name, authorization, collection }) {
    this.authorization = authorization;
    this.unfinished = new Unfinished(name, collection);
    this.takesPieces = false;
    this.records = `../buckets/default/collections/${collection}/records`;
  }

  /** Who signed in, with `bucket` where the server has default buckets; else undefined. */
  async user() {
    const { body } = await this.#ask("GET", "../");
    this.takesPieces = body?.capabilities?.attachments?.uploads?.tus === "1.0.0";
    return body?.user;
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
      @param progressed  called with bytes that went, and bytes of the whole
      @param waits  called with an error after which a large file goes on by itself */
  async upload(file, id, old, { signal, progressed, waits }) {
    const condition = old ? Files.#unchanged(old) : { "If-None-Match": "*" };
    const large = this.isResumable(file);
    const whole = () => this.#sendWhole(file, id, { condition, signal, progressed });
    const answer = large
      ? await this.#resume(file, id, old, { creation: condition, signal, progressed, waits })
        .catch((error) => (error.reason === "uploads_off" ? whole() : Promise.reject(error)))
      : await whole();
    if (!answer?.body) return (await this.#ask("GET", `${this.records}/${id}`)).body.data;
    const last_modified = Number(answer.header("ETag").replaceAll('"', ""));
    return { id, last_modified, attachment: answer.body };
  }

  /** Whether a file goes in several requests, so that one can pause it. */
  isResumable(file) {
    return this.takesPieces && file.size > LARGE;
  }

  /** The id of the record of an upload that this file would go on with; else undefined. */
  begun(file, old) {
    return this.isResumable(file) ? this.unfinished.get(this.unfinished.key(file, old))?.record : undefined;
  }

  /** Give an upload up, of a file that is at hand or by what is remembered of it. */
  async giveUp(key) {
    const found = this.unfinished.get(key);
    this.unfinished.forget(key);
    if (!found) return;
    const url = this.#uploads(found.record);
    await new Upload(null, { url, headers: this.#headers(), id: found.id }).giveUp();
  }

  #sendWhole(file, id, { condition, signal, progressed }) {
    const body = new FormData();
    body.append("attachment", file);
    const url = `${this.records}/${id}/attachment`;
    return send("POST", url, this.#headers(condition), { body, signal, progressed });
  }

  async #resume(file, id, old, how) {
    const key = this.unfinished.key(file, old);
    const upload = new Upload(file, {
      url: this.#uploads(id),
      headers: this.#headers(),
      id: this.unfinished.get(key)?.id,
      remember: (state) => this.unfinished.set(key, { ...state, record: id }),
    });
    try {
      const progressed = (sent) => how.progressed(sent, file.size);
      const answer = await upload.run({ ...how, progressed });
      this.unfinished.forget(key);
      return answer;
    } catch (error) {
      if (ENDED.includes(error.status)) this.unfinished.forget(key);
      throw error;
    }
  }

  #uploads(id) {
    return `${this.records}/${id}/attachment/uploads`;
  }

  static #unchanged(record) {
    return { "If-Match": `"${record.last_modified}"` };
  }

  #headers(more = {}) {
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
