// Which token does an unmodified Node program send? Preloaded with `node --import ./bearer.mjs …`, this
// adds `Authorization: Bearer $BEARER_TOKEN` to every request to $BEARER_ORIGIN that has none.
// The conformance suite has no option for headers; it uses fetch, undici and node:http side by side.
import { realpathSync } from 'node:fs';
import http from 'node:http';
import { createRequire, syncBuiltinESMExports } from 'node:module';

const { BEARER_TOKEN: token, BEARER_ORIGIN: origin } = process.env;
if (!token || !origin) throw new Error('bearer.mjs needs BEARER_TOKEN and BEARER_ORIGIN');
const value = `Bearer ${token}`;
const isOurs = (url) => URL.canParse(url) && new URL(url).origin === new URL(origin).origin;

const plainFetch = globalThis.fetch;
globalThis.fetch = (input, init) => {
  const request = input instanceof Request ? input : undefined;
  if (!isOurs(request ? request.url : String(input))) return plainFetch(input, init);
  const headers = new Headers(init?.headers ?? request?.headers);
  if (!headers.has('authorization')) headers.set('authorization', value);
  return plainFetch(input, { ...init, headers });
};

const plainRequest = http.request;
http.request = (...args) => {
  const sent = plainRequest(...args);
  const to = `http://${sent.getHeader('host') ?? sent.host}`;
  if (isOurs(to) && !sent.hasHeader('authorization')) sent.setHeader('authorization', value);
  return sent;
};
syncBuiltinESMExports();

// undici hands headers on as an object, as pairs or as a flat list of names and values.
function withBearer(headers) {
  const flat = Array.isArray(headers) && !Array.isArray(headers[0]);
  const pairs = flat
    ? headers.flatMap((name, i) => (i % 2 ? [] : [[name, headers[i + 1]]]))
    : [...(headers?.[Symbol.iterator] ? headers : Object.entries(headers ?? {}))];
  const given = pairs.some(([name]) => String(name).toLowerCase() === 'authorization');
  return Object.fromEntries(given ? pairs : [...pairs, ['authorization', value]]);
}

function wrapUndici(program) {
  let undici;
  try {
    undici = createRequire(realpathSync(program))('undici');
  } catch (error) {
    if (error.code !== 'MODULE_NOT_FOUND') throw error;
    return; // the program has no undici of its own
  }
  const adding = (next) => (options, handler) =>
    isOurs(String(options.origin)) ? next({ ...options, headers: withBearer(options.headers) }, handler) : next(options, handler);
  undici.setGlobalDispatcher(undici.getGlobalDispatcher().compose(adding));
}
if (process.argv[1]) wrapUndici(process.argv[1]);
