/* What this browser remembers of uploads that are not finished: so that one goes on after a reload,
   once the user has picked the same file again. No password, and nothing of a file's content. */

const PREFIX = "kinto-attachment-upload ";

/** Uploads of one user to one collection. An upload is the same for the same file, as far as its
    name, size and time tell, and the same record in the same state. */
export class Unfinished {
  constructor(user, collection) {
    this.prefix = `${PREFIX}${JSON.stringify([user, collection])} `;
  }

  key(file, old) {
    const record = old ? [old.id, old.last_modified] : [];
    return this.prefix + JSON.stringify([file.name, file.size, file.lastModified, ...record]);
  }

  get(key) {
    const found = parsed(localStorage.getItem(key));
    const usable = found?.expires > Date.now() && /^[0-9a-f]{32}$/.test(found.id);
    if (found && !usable) this.forget(key);
    return usable ? found : null;
  }

  set(key, upload) {
    try {
      localStorage.setItem(key, JSON.stringify(upload));
    } catch { // It is full, or not allowed: a reload begins anew.
    }
  }

  forget(key) {
    localStorage.removeItem(key);
  }

  /** All of them: `key`, the file's `name` and `size`, and what was remembered. */
  list() {
    const keys = Object.keys(localStorage).filter((key) => key.startsWith(this.prefix));
    return keys.map((key) => {
      const [name, size] = parsed(key.slice(this.prefix.length)) ?? [];
      return { ...this.get(key), key, name, size };
    }).filter(({ id, name }) => id && name);
  }
}

/** Other pages of this origin may have written anything. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
