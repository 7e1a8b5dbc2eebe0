// Talk to the server. A failure says whether trying again can help.

export class Failure extends Error {
  // status: HTTP's, or 0 if the server could not be reached. item: the row, if somebody else answered.
  constructor(message, status, item = null) {
    super(message);
    this.status = status;
    this.item = item;
  }
}

const PATIENCE_MS = 10000;

// Return the URL of a path of the page, which a reverse proxy may serve below a path of its own.
export function at(path) {
  return new URL(`..${path}`, import.meta.url).href;
}

async function ask(path, options) {
  let response;
  try {
    response = await fetch(at(path), { ...options, signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Failure("the server does not answer", 0);
  }
  let data;
  try {
    data = await response.json();
  } catch {
    const text = response.status === 401 ? "this page is not valid any more: open the URL that "
      + "digitd review printed" : "the server's answer was cut short";
    throw new Failure(text, response.status);
  }
  if (!response.ok) throw new Failure(data.error, response.status, data.item);
  return data;
}

export function get(path) {
  return ask(path, {});
}

export function post(path, data) {
  return ask(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(data),
  });
}

export async function upload(file) {
  let response;
  try {
    const path = `/api/files?name=${encodeURIComponent(file.name)}`;
    response = await fetch(at(path), { method: "POST", body: file });
  } catch {
    throw new Failure("the server does not answer", 0);
  }
  if (!response.ok) {
    const data = await response.json().catch(() => ({ error: "it was not taken" }));
    throw new Failure(data.error, response.status);
  }
}
