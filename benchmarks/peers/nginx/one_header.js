// Each function: the request header x-user, to be sent to the upstream under another name.
function seen(r) { return r.headersIn['x-user']; }
export default { seen_1: seen, seen_2: seen, seen_3: seen };
