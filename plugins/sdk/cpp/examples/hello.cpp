#include "blitz.h"

BLITZ_REQUEST(method, path)
{
    (void)path;
    if (!blitz_equal(method, BLITZ_STR("GET")) && !blitz_equal(method, BLITZ_STR("HEAD"))) {
        blitz_set_status(405);
        blitz_set_header(BLITZ_STR("allow"), BLITZ_STR("GET, HEAD"));
        blitz_set_body(BLITZ_STR("read only\n"));
        return BLITZ_STOP;
    }
    blitz_set_header(BLITZ_STR("x-hello"), BLITZ_STR("from C++"));
    return BLITZ_CONTINUE;
}
