// Calls of the agent. The token comes with the link that `beeline status` shows and stays in this tab.

const kKey = "beeline.token";

export class ApiError extends Error {
  constructor(readonly status: number, message: string) { super(message); }
}

// Takes the token out of the address, so that it is neither bookmarked nor shown.
export function takeToken(): void {
  const match = /^#token=([\w.~-]+)$/.exec(location.hash);
  if (!match?.[1]) return;
  sessionStorage.setItem(kKey, match[1]);
  history.replaceState(null, "", location.pathname + location.search);
}

export function setToken(token: string): void { sessionStorage.setItem(kKey, token); }

async function open(path: string, signal?: AbortSignal): Promise<Response> {
  const token = sessionStorage.getItem(kKey);
  let response: Response;
  try {
    response = await fetch(path, {
      headers: token ? { Authorization: `Bearer ${token}` } : {},
      credentials: "omit", cache: "no-store", ...(signal ? { signal } : {}),
    });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new ApiError(0, "The agent does not answer. Is beelined running on this machine?");
  }
  if (response.ok) return response;
  let message = response.statusText;
  try {
    const body: unknown = await response.json();
    message = (body as { error: { message: string } }).error.message;
  } catch { /* not an error document of the agent: the status says enough */ }
  throw new ApiError(response.status, message);
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  return await (await open(path, signal)).json() as T;
}

// Calls `each` with every line of a stream until it ends.
export async function lines<T>(path: string, each: (value: T) => void, signal: AbortSignal): Promise<void> {
  const response = await open(path, signal);
  const reader = response.body?.getReader();
  if (!reader) return;
  const decoder = new TextDecoder();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    rest += decoder.decode(value, { stream: !done });
    let begin = 0;
    for (let end = rest.indexOf("\n"); end >= 0; end = rest.indexOf("\n", begin)) {
      if (end > begin) each(JSON.parse(rest.slice(begin, end)) as T);
      begin = end + 1;
    }
    rest = rest.slice(begin);
    if (done) break;
  }
  if (rest.trim()) each(JSON.parse(rest) as T);
}

export const isAbort = (error: unknown): boolean => error instanceof DOMException && error.name === "AbortError";
