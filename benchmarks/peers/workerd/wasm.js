// A host for the same guest that Blitz runs (guests/one_header.wat): get_header and set_header over
// the guest's memory, one instance per plugin for the life of the worker.
@imports@
const utf8 = new TextDecoder(), bytes = new TextEncoder();

function plugin(module) {
  let headers, memory;
  const text = (at, length) => utf8.decode(new Uint8Array(memory.buffer, at, length));
  const instance = new WebAssembly.Instance(module, { blitz: {
    get_header(name, nameLength, buffer, room) {
      const value = headers.get(text(name, nameLength));
      if (value === null) return -1;
      const { written } = bytes.encodeInto(value, new Uint8Array(memory.buffer, buffer, room));
      return written;
    },
    set_header(name, nameLength, value, valueLength) {
      headers.set(text(name, nameLength), text(value, valueLength));
    },
  } });
  memory = instance.exports.memory;
  const buffer = instance.exports.blitz_buffer();
  return (request, path) => {
    headers = request.headers;
    const method = bytes.encodeInto(request.method, new Uint8Array(memory.buffer, buffer, 64)).written;
    const target = bytes.encodeInto(path, new Uint8Array(memory.buffer, buffer + 64, 16000)).written;
    return instance.exports.process_request(buffer, method, buffer + 64, target);
  };
}
const plugins = [@list@].map(plugin);
@spin@

export default {
  fetch(incoming, env) {
    const request = new Request(incoming);
    const path = incoming.url.slice(incoming.url.indexOf('/', 8));
    if (spin && path.startsWith('/loop')) spin(request, path);
    for (const run of plugins) {
      if (run(request, path) !== 0) return new Response(null, { status: 500 });
    }
    return env.origin.fetch(request);
  },
};
