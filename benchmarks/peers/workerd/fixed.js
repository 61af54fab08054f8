const body = 'o'.repeat(128);
export default { fetch: () => new Response(body, { headers: { 'content-type': 'text/plain' } }) };
