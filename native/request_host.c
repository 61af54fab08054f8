/* request_host.c: which Host a request to an upstream has. */
#include "head.h"

void blitz_write_host(blitz_write_options *options, const blitz_head *request, const blitz_cluster *cluster,
                      const blitz_endpoint *endpoint)
{
    blitz_text host = cluster->host;
    /* HTTP/1.0 without Host: ours must have one (RFC 9112 section 3.2); the endpoint's, as nginx does. */
    if (host.len == 0 && request->host.len == 0)
        host = endpoint->host;
    options->host = host.len > 0 ? host.ptr : NULL;
    options->host_len = host.len;
}
