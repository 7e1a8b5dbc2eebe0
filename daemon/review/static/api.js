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
    throw new Failure("the server's answer was cut short", response.status);
  }
  if (!response.ok) throw new Failure(data.error, response.status, data.item);
  return data;
}

export function get(path) {
  return ask(path, {});
}

export const AGAIN_MS = 1000; // after an image that did not arrive

// Ask again for an image that did not arrive; give up one that cannot be shown.
export async function recover(path, ask, giveUp) {
  if (await refusal(path) === null) setTimeout(ask, AGAIN_MS);
  else giveUp();
}

// Return why an image cannot be shown; null if it did not arrive, and another try may bring it.
export async function refusal(path) {
  try {
    await get(path);
  } catch ({ status, message }) {
    if (status === 404) return message;
  }
  return null;
}

export function post(path, data) {
  return ask(path, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(data),
  });
}

// Return a name that the server takes for a file; a file may have any on its own machine.
function plain(name) {
  return name.replace(/[\p{Cc}\p{Cs}/\\]/gu, "_").replace(/^\.+/, "") || "image";
}

// Put a file into the inbox; return its name there, and its id for `/api/files`. tell: gets the share
// that has been sent. fetch() does not report progress.
export function upload(file, tell) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.upload.onprogress = ({ loaded, total }) => tell(loaded / total);
    request.onerror = () => reject(new Failure("the server does not answer", 0));
    request.onload = () => {
      let data = { error: "it was not taken" };
      try {
        data = JSON.parse(request.responseText);
      } catch { /* a proxy's page */ }
      if (request.status === 201) resolve(data);
      else reject(new Failure(data.error, request.status));
    };
    request.open("POST", at(`/api/files?name=${encodeURIComponent(plain(file.name))}`));
    request.send(file);
  });
}
