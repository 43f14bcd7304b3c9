// What the service is asked. Errors are `Refusal`s, whose message is what it said.

const KEY = "shopsight-key";

export class Refusal extends Error {
  constructor(message, status, retryAfterS) {
    super(message);
    this.status = status;
    this.retryAfterS = retryAfterS;
  }
}

export function keepKey(key) {
  sessionStorage.setItem(KEY, key);
}

function headers() {
  const key = sessionStorage.getItem(KEY);
  return key ? { Authorization: `Bearer ${key}` } : {};
}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...headers(), ...options.headers } });
  } catch {
    throw new Refusal("The service cannot be reached. Is it still running?", 0);
  }
  if (answer.ok) return answer;
  let what = `The service answered ${answer.status}.`;
  try {
    const { error } = await answer.json();
    what = error.fix ? `${error.what} (${error.fix})` : error.what;
  } catch {
    // No JSON: a proxy between here and there answered.
  }
  throw new Refusal(what, answer.status, Number(answer.headers.get("Retry-After")) || 0);
}

export async function about() {
  return (await ask("v1/models")).json();
}

const TRIES = 6;

// A busy service says when to come again.
async function patiently(work) {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (error.status !== 429 || tries === TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfterS || 1)));
    }
  }
}

export async function predict(files, { explain = false, top = 5 } = {}) {
  const body = new FormData();
  for (const file of files) body.append("file", file, "photo");
  const path = `v1/predict?top=${top}${explain ? "&explain=1" : ""}`;
  const answer = await patiently(() => ask(path, { method: "POST", body }));
  return (await answer.json()).predictions;
}

export async function search({ file = null, text = "", top = 8 }) {
  const body = new FormData();
  if (file) body.append("file", file, "photo");
  if (text) body.append("text", text);
  body.append("top", String(top));
  const answer = await patiently(() => ask("v1/search", { method: "POST", body }));
  return (await answer.json()).items;
}

// An <img> cannot send a key.
export async function picture(path) {
  return URL.createObjectURL(await (await ask(path)).blob());
}
