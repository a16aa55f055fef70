/* A file in several requests, by tus 1.0.0. How far it has come is what the server says: so it goes
   on after a pause, a break, and a reload. */

import { Refusal, send, Unsent } from "./send.js";

const OWN = { "Tus-Resumable": "1.0.0" };
const PIECE = 8 * 1024 * 1024; // Bytes of a request: some servers and proxies pass on whole ones only.
const TRIES = 6; // In a row, with nothing that came of them.
const PASSING = [409, 423, 429, 500, 502, 503, 504];
const GONE = [404, 410];

const isPassing = (error) => error instanceof Unsent || PASSING.includes(error.status);
const isGone = (error) => error instanceof Refusal && GONE.includes(error.status);

/** The header Upload-Metadata: values in Base64, of UTF-8. */
function metadata(values) {
  return Object.entries(values).filter(([, value]) => value).map(([name, value]) => {
    const bytes = new TextEncoder().encode(value);
    return `${name} ${btoa(String.fromCharCode(...bytes))}`;
  }).join(",");
}

/** Until the next try; at once where the network comes back. */
function pause(failed, signal) {
  return new Promise((resolve, reject) => {
    setTimeout(resolve, Math.min(500 * 2 ** failed, 30_000));
    addEventListener("online", resolve, { once: true });
    signal.onabort = () => reject(signal.reason);
  });
}

export class Upload {
  /** @param url  of the record's uploads
      @param headers  of each request, as Authorization
      @param id  of an upload that goes on; null begins one
      @param remember  called with what a later page needs to go on: { id, offset, expires } */
  constructor(file, { url, headers, id = null, remember }) {
    Object.assign(this, { file, url, id, remember });
    this.headers = { ...headers, ...OWN };
    this.offset = 0;
  }

  /** Send what the server has not yet; returns the last answer, or null where that was lost.
      @param creation  headers of the request that begins it
      @param waits  called with an error after which it is tried again */
  async run({ creation, signal, progressed, waits }) {
    for (let failed = 0; ;) {
      const before = this.offset;
      try {
        if (!(this.id && await this.#look(signal))) await this.#begin(creation, signal);
        progressed(this.offset);
        let answer = null;
        while (this.offset < this.file.size) answer = await this.#sendPiece(signal, progressed);
        return answer;
      } catch (error) {
        if (signal.aborted || !(isPassing(error) || (isGone(error) && this.id))) throw error;
        failed = this.offset > before ? 1 : failed + 1;
        if (failed > TRIES) throw error;
        waits(error);
        await pause(failed, signal);
      }
    }
  }

  /** Give it up: the server need not keep what has come. */
  async giveUp() {
    if (this.id) await send("DELETE", this.#own, this.headers).catch(() => {}); // It expires.
  }

  get #own() {
    return `${this.url}/${this.id}`;
  }

  async #begin(creation, signal) {
    const { name, type, size } = this.file;
    const answer = await send("POST", this.url, {
      ...this.headers,
      ...creation,
      "Upload-Length": size,
      "Upload-Metadata": metadata({ filename: name, filetype: type }),
    }, { signal });
    this.id = answer.header("Location").split("/").pop(); // The host stays the page's.
    this.#arrived(answer);
  }

  /** Whether the server still has it, and how much of it. */
  async #look(signal) {
    try {
      this.#arrived(await send("HEAD", this.#own, this.headers, { signal }));
      return true;
    } catch (error) {
      if (!isGone(error)) throw error;
      this.id = null;
      this.offset = 0;
      return false;
    }
  }

  async #sendPiece(signal, progressed) {
    const { offset } = this;
    const answer = await send("PATCH", this.#own, {
      ...this.headers,
      Accept: "application/json",
      "Content-Type": "application/offset+octet-stream",
      "Upload-Offset": offset,
    }, {
      body: this.file.slice(offset, offset + PIECE),
      signal,
      progressed: (sent) => progressed(offset + sent),
    });
    this.#arrived(answer);
    return answer;
  }

  #arrived(answer) {
    this.offset = Number(answer.header("Upload-Offset"));
    const expires = Date.parse(answer.header("Upload-Expires"));
    this.remember({ id: this.id, offset: this.offset, expires });
  }
}
