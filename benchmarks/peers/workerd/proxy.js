export default { fetch: (request, env) => env.origin.fetch(request) };
