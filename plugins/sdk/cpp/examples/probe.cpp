// Calls all kinds of host functions; the tests drive it, freestanding and over WASI.
#define BLITZ_ALLOCATOR
#include "blitz.h"

namespace {

// An object with a constructor: it has run before init, once.
struct Starts {
    int64_t count;
    Starts() : count(1) {}
};
Starts starts;

void set_number(blitz_str name, int64_t number)
{
    char digits[24];
    blitz_writer writer = blitz_writer_on(digits, sizeof digits);
    blitz_put_i64(&writer, number);
    blitz_set_header(name, blitz_written(&writer));
}

// Characters, not bytes, of UTF-8.
int64_t characters(blitz_str text)
{
    int64_t count = 0;
    for (uint32_t i = 0; i < text.len; i++) {
        count += (static_cast<uint8_t>(text.ptr[i]) & 0xc0) != 0x80;
    }
    return count;
}

} // namespace

BLITZ_INIT()
{
    blitz_log(BLITZ_STR("debug"), BLITZ_STR("probe starts"));
    blitz_value why = blitz_config_value(BLITZ_STR("refuse"));
    if (why.found) {
        blitz_log(BLITZ_STR("error"), why.text);
        return -1;
    }
    return starts.count == 1 ? 0 : -1;
}

BLITZ_REQUEST(method, path)
{
    char seen[512];
    blitz_writer writer = blitz_writer_on(seen, sizeof seen);
    blitz_put(&writer, method);
    blitz_put_char(&writer, ' ');
    blitz_put(&writer, path);
    blitz_set_header(BLITZ_STR("x-seen"), blitz_written(&writer));

    blitz_value name = blitz_env(BLITZ_STR("PROBE_NAME"));
    if (name.found) {
        blitz_add_header(BLITZ_STR("x-name"), name.text);
    }
    blitz_value echo = blitz_header(BLITZ_STR("x-echo"));
    if (echo.found) {
        set_number(BLITZ_STR("x-echo-length"), echo.text.len);
        blitz_remove_header(BLITZ_STR("x-echo"));
    }
    blitz_set_header(BLITZ_STR("x-client"), blitz_property(BLITZ_STR("client.address")).text);
    int32_t left = blitz_rate_limit(BLITZ_STR("probe"), 1, 2);
    if (left < 0) {
        blitz_set_status(429);
        return BLITZ_STOP;
    }
    set_number(BLITZ_STR("x-left"), left);
    starts.count++;
    return BLITZ_CONTINUE;
}

BLITZ_RESPONSE(status, body)
{
    set_number(BLITZ_STR("x-status"), status);
    set_number(BLITZ_STR("x-body-chars"), characters(body));
    return BLITZ_CONTINUE;
}

BLITZ_CLEANUP()
{
    blitz_log(BLITZ_STR("info"), BLITZ_STR("probe ends"));
    return 0;
}
