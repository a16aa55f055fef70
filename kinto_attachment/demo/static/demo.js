/* What the page does: uploads, the list, signing in. Its requests are in api.js. */

import { basic, Files, newId } from "./api.js";

const AT_ONCE = 3; // Uploads; the others wait.
const PICTURES = /^image\/(png|jpeg|gif|webp|avif|bmp)$/;
const CHANGED = "Somebody else changed it: the list has been read again.";
const SESSION = "kinto-attachment-demo";

let files = null; // Since one is signed in.

const find = (id) => document.getElementById(id);
const clone = (id) => find(id).content.firstElementChild.cloneNode(true);

/** Show a sentence at its place, and have it read aloud. */
function say(sentence, place) {
  find("status").textContent = sentence;
  if (place) place.textContent = sentence;
}

/** Give a button its word, and to those who can't see where it is the name of its file. */
function label(button, word, filename) {
  button.textContent = word;
  button.setAttribute("aria-label", `${word} ${filename}`);
}

// Uploads

let running = 0;
const waiting = []; // Functions that let the next one begin.

async function inTurn(job) {
  if (running < AT_ONCE) running += 1;
  else await new Promise((begin) => waiting.push(begin));
  try {
    return await job();
  } finally {
    if (waiting.length) waiting.shift()();
    else running -= 1;
  }
}

/** How far it is, in words, once there is something to go by. */
class Pace {
  constructor() {
    this.first = null;
  }

  words(sent, total) {
    const now = performance.now();
    this.first ??= { sent, now };
    const done = `${readable(sent)} of ${readable(total)}`;
    const seconds = (now - this.first.now) / 1000;
    const rate = (sent - this.first.sent) / seconds;
    if (seconds < 1 || !rate) return done;
    const left = (total - sent) / rate;
    const [count, unit] = left < 90 ? [left, "second"] : left < 5400 ? [left / 60, "minute"] : [left / 3600, "hour"];
    const how = { style: "unit", unit, unitDisplay: "long", maximumFractionDigits: 0 };
    return `${done}, ${Math.max(1, count).toLocaleString([], how)} left`;
  }
}

/** Upload a file to a new record, or to an old one in place of its file. */
function upload(file, old) {
  const row = clone("upload");
  const [title, again, halt, stop, bar, note] = row.children;
  const large = files.isResumable(file);
  const key = files.unfinished.key(file, old);
  const id = files.begun(file, old) ?? old?.id ?? newId();
  let cancelling;

  async function attempt() {
    cancelling = new AbortController();
    const { signal } = cancelling;
    const pace = new Pace();
    row.classList.remove("failed");
    label(stop, "Cancel", file.name);
    if (document.activeElement === again) (large ? halt : stop).focus();
    again.hidden = true;
    halt.hidden = !large;
    note.textContent = "";
    const progressed = (sent, total) => {
      bar.value = sent / total;
      if (large) note.textContent = pace.words(sent, total);
    };
    const waits = (error) => say(`${error.message} It goes on by itself.`, note);
    try {
      const job = () => files.upload(file, id, old, { signal, progressed, waits });
      leave(put(await inTurn(job)));
      say(`${file.name} is stored.`);
    } catch (error) {
      if (!signal.aborted) failed(error);
    }
  }

  function paused() {
    cancelling.abort();
    label(again, "Go on", file.name);
    again.hidden = false;
    if (document.activeElement === halt) again.focus();
    halt.hidden = true;
    say(`Paused. What has come stays on the server.`, note);
  }

  async function failed(error) {
    row.classList.add("failed");
    label(stop, "Dismiss", file.name);
    label(again, "Try again", file.name);
    again.hidden = Boolean(error.stale);
    halt.hidden = true;
    if (error.stale) await load();
    say(error.stale ? CHANGED : error.message, note);
  }

  function leave(next) {
    const focused = row.contains(document.activeElement);
    row.remove();
    if (focused) next.focus();
  }

  find("uploads").querySelectorAll(".begun").forEach((one) => {
    if (one.dataset.key === key) one.remove();
  });
  title.textContent = file.name;
  bar.setAttribute("aria-label", `Upload of ${file.name}`);
  label(again, "Try again", file.name);
  label(halt, "Pause", file.name);
  again.onclick = attempt;
  halt.onclick = paused;
  stop.onclick = () => {
    cancelling.abort();
    if (large) files.giveUp(key);
    leave(find("files"));
  };
  find("uploads").append(row);
  attempt();
}

/** Show uploads that another page began: a page may not open a file by itself. */
function showUnfinished() {
  for (const { key, name, size, offset } of files.unfinished.list()) {
    const row = clone("upload");
    const [title, , , stop, bar, note] = row.children;
    row.classList.add("begun");
    row.dataset.key = key;
    title.textContent = name;
    bar.value = offset / size;
    bar.setAttribute("aria-label", `Upload of ${name}`);
    note.textContent = `${readable(offset)} of ${readable(size)}. Choose the file again, and it goes on.`;
    label(stop, "Cancel", name);
    stop.onclick = () => {
      files.giveUp(key);
      row.remove();
      find("files").focus();
    };
    find("uploads").append(row);
  }
}

// The list

const ACTIONS = { Open: openFile, "Copy link": copyLink, Replace: replace, Remove: remove };

/** A link lives some minutes: it is ordered when its picture comes into view. */
const pictures = new IntersectionObserver((entries) => {
  for (const { target } of entries.filter((entry) => entry.isIntersecting)) {
    pictures.unobserve(target);
    showPicture(target).catch(() => {}); // The extension stays in its place.
  }
}, { rootMargin: "200px" });

async function showPicture(item) {
  const image = new Image();
  image.alt = ""; // The name stands beside it.
  image.onload = () => item.querySelector(".tile").append(image);
  image.src = (await files.link(item.dataset.id)).url;
}

/** A size in bytes for people. */
function readable(size) {
  const step = size < 1e3 ? 0 : size < 1e6 ? 1 : size < 1e9 ? 2 : 3;
  const unit = ["byte", "kilobyte", "megabyte", "gigabyte"][step];
  const how = { style: "unit", unit, unitDisplay: step ? "short" : "long" };
  return (size / 1000 ** step).toLocaleString([], { ...how, maximumFractionDigits: 1 });
}

function card(record) {
  const { filename, mimetype, size } = record.attachment;
  const item = clone("card");
  const [extension, title, bytes, time, buttons] = item.querySelectorAll("[data-part]");
  const stored = new Date(record.last_modified);
  item.dataset.id = record.id;
  extension.textContent = /.\.(\w{1,5})$/.exec(filename)?.[1] ?? "file";
  title.textContent = filename;
  bytes.textContent = readable(size);
  time.dateTime = stored.toISOString();
  time.textContent = stored.toLocaleDateString([], { dateStyle: "medium" });
  for (const [word, action] of Object.entries(ACTIONS)) {
    const button = buttons.appendChild(document.createElement("button"));
    label(button, word, filename);
    button.onclick = (event) => { // Once, when it is clicked twice.
      if (event.detail < 2) act(action, record, item, button);
    };
  }
  if (PICTURES.test(mimetype)) pictures.observe(item);
  return item;
}

/** Show the list from its start, or more of it. */
async function load(page) {
  find("list-note").textContent = "";
  try {
    const { records, next } = await files.list(page);
    const added = records.map(card);
    if (!page) find("cards").replaceChildren();
    find("cards").append(...added);
    find("more").hidden = !next;
    find("more").onclick = () => load(next);
    find("empty").hidden = find("cards").hasChildNodes();
    if (page) added[0]?.querySelector("button").focus();
  } catch (error) {
    say(error.message, find("list-note"));
  }
}

/** Show a record that was just stored; returns the button to go on from. */
function put(record) {
  const item = card(record);
  const buttons = item.querySelectorAll("button");
  const old = find("cards").querySelector(`[data-id="${record.id}"]`);
  const focused = old ? [...old.querySelectorAll("button")].indexOf(document.activeElement) : -1;
  if (old) old.replaceWith(item);
  else find("cards").prepend(item);
  buttons[focused]?.focus();
  find("empty").hidden = true;
  return buttons[0];
}

async function act(action, record, item, button) {
  const [note, link] = item.querySelectorAll(".note, .link");
  note.textContent = "";
  link.hidden = true;
  try {
    await action(record, { item, button, note, link });
  } catch (error) {
    if (!error.stale) return say(error.message, note);
    await load();
    say(CHANGED, find("list-note"));
    find("list-title").focus();
  }
}

async function openFile(record) {
  window.open((await files.link(record.id)).url, "_blank", "noopener");
}

async function copyLink(record, { note, link }) {
  const { url, seconds } = await files.link(record.id);
  const life = seconds < 120 ? `${seconds} seconds` : `${Math.floor(seconds / 60)} minutes`;
  const works = `For ${life} it opens the file without a password.`;
  try {
    await navigator.clipboard.writeText(url);
    say(`The link is copied. ${works}`, note);
  } catch { // Not allowed, or not there without https.
    link.value = url;
    link.hidden = false;
    link.focus();
    link.select();
    say(`Copy this link. ${works}`, note);
  }
}

function replace(record) {
  const input = find("replacement");
  input.value = "";
  input.onchange = () => upload(input.files[0], record);
  input.click();
}

/** Remove a record at the second press; who turns away in between keeps it. */
async function remove(record, { item, button, note }) {
  const { filename } = record.attachment;
  if (button.classList.toggle("sure")) {
    label(button, "Really remove", filename);
    button.focus(); // Safari does not do so by itself.
    button.onblur = () => {
      button.classList.remove("sure");
      label(button, "Remove", filename);
      note.textContent = "";
    };
    button.onkeydown = (event) => { if (event.key === "Escape") button.onblur(); };
    return say("Press again, and the record goes with its file.", note);
  }
  await files.remove(record);
  const next = item.nextElementSibling ?? item.previousElementSibling;
  item.remove();
  find("empty").hidden = find("cards").hasChildNodes();
  (next?.querySelector("button") ?? find("files")).focus();
  return say(`${filename} is removed.`);
}

// Signing in; choosing and dropping files

async function signIn(session) {
  const candidate = new Files(session);
  const user = await candidate.user();
  if (!user) throw new Error("This server does not know this name and password.");
  if (!user.bucket) {
    throw new Error("This page needs kinto.plugins.default_bucket in Kinto's setting includes.");
  }
  files = candidate;
  sessionStorage.setItem(SESSION, JSON.stringify(session));
  find("user-name").textContent = session.name;
  find("list-title").textContent = `Files in ${session.collection}`;
  await load();
  showUnfinished();
  find("sign-in").hidden = true;
  find("user").hidden = find("album").hidden = false;
}

function askToSignIn(error) {
  find("sign-in").hidden = false;
  find("sign-in-note").textContent = error?.message ?? "";
  find("name").focus();
}

find("sign-in").onsubmit = async (event) => {
  event.preventDefault();
  const { name, password, collection } = Object.fromEntries(new FormData(event.target));
  try {
    await signIn({ name, authorization: basic(name, password), collection });
    event.target.reset();
    find("files").focus();
  } catch (error) {
    askToSignIn(error);
  }
};

find("sign-out").onclick = () => {
  sessionStorage.removeItem(SESSION);
  location.reload();
};

find("files").onchange = (event) => {
  [...event.target.files].forEach((file) => upload(file));
  event.target.value = ""; // The same file may be chosen again.
};

function drag(event) {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault(); // Else the browser would leave the page for the file.
  document.body.classList.toggle("dragging", files && event.type === "dragover");
  if (files && event.type === "drop") {
    [...event.dataTransfer.files].forEach((file) => upload(file));
  }
}

addEventListener("dragover", drag);
addEventListener("drop", drag);
addEventListener("dragleave", () => document.body.classList.remove("dragging"));

const session = JSON.parse(sessionStorage.getItem(SESSION));
if (session) signIn(session).catch(askToSignIn);
else askToSignIn();
