/* request_logger: one line per request and one per response, in logfmt, secrets masked.
 *
 *   request method=GET path="/a?token=***" client=192.0.2.1 id=0123... header.user-agent="curl/8.5.0"
 *   response method=GET path="/a?token=***" status=200 duration_ms=3 id=0123...
 *
 * It changes nothing that passes. */
#include "blitz.h"
#include "mask.h"

enum {
    MAX_LINE = 8192,
    MAX_PATH = 2048, /* of the path in a line; more is cut and marked */
    MAX_VALUE = 512, /* of a header's value in a line */
    MAX_HEADERS = 64,
};

typedef enum { SHOWN, SHOWN_AS_URI, MASKED } header_kind;

typedef struct {
    blitz_str name;
    header_kind kind; /* by its name alone, so judged once, in init */
} logged_header;

static logged_header headers[MAX_HEADERS];
static uint32_t header_count;
static blitz_str config_mask; /* one name per line */
static blitz_str config_level;

static char line_bytes[MAX_LINE];

static bool is_name(blitz_str key, blitz_str name)
{
    if (!blitz_is_token(name)) {
        BLITZ_CONFIG_COMPLAINT(key, name, "a list of field names such as \"user-agent\"");
        return false;
    }
    return true;
}

static bool read_mask(void)
{
    blitz_str key = BLITZ_STR("mask");
    config_mask = blitz_config_value(key).text;
    blitz_str rest = config_mask, name;
    while (blitz_split(&rest, '\n', &name)) {
        if (!is_name(key, name)) {
            return false;
        }
    }
    return true;
}

static header_kind judge_header(blitz_str name)
{
    if (is_secret_header(name, config_mask)) {
        return MASKED;
    }
    return is_in(name, BLITZ_STR(mask_uri_headers)) ? SHOWN_AS_URI : SHOWN;
}

static bool read_headers(void)
{
    blitz_str key = BLITZ_STR("headers");
    blitz_str rest = blitz_config_value(key).text, name;
    while (blitz_split(&rest, '\n', &name)) {
        if (!is_name(key, name)) {
            return false;
        }
        if (header_count == MAX_HEADERS) {
            blitz_log(BLITZ_STR("error"), BLITZ_STR("config headers has more than 64 names"));
            return false;
        }
        headers[header_count++] = (logged_header){name, judge_header(name)};
    }
    return true;
}

static bool read_level(void)
{
    static const char levels[] = "trace\ndebug\ninfo\nwarn\nerror";
    blitz_value level = blitz_config_value(BLITZ_STR("level"));
    config_level = level.found ? level.text : BLITZ_STR("info");
    if (!is_in(config_level, BLITZ_STR(levels))) {
        BLITZ_CONFIG_COMPLAINT(BLITZ_STR("level"), config_level, "trace, debug, info, warn or error");
        return false;
    }
    return true;
}

BLITZ_INIT()
{
    bool ok = read_mask() && read_headers() && read_level();
    return ok ? 0 : -1;
}

static void put_cut_mark(blitz_writer *line, bool cut)
{
    if (cut) {
        blitz_put(line, BLITZ_STR("..."));
    }
}

static void put_path(blitz_writer *line, blitz_str path)
{
    static char masked_bytes[MAX_PATH];
    blitz_writer masked = blitz_writer_on(masked_bytes, sizeof masked_bytes);
    put_masked_uri(&masked, path, config_mask);
    blitz_put(line, BLITZ_STR(" path=\""));
    blitz_put(line, blitz_written(&masked));
    put_cut_mark(line, masked.full);
    blitz_put_char(line, '"');
}

static void put_property(blitz_writer *line, blitz_str label, blitz_str name)
{
    char buf[64];
    blitz_value value = blitz_property_into(name, buf, sizeof buf);
    if (value.found) {
        blitz_put(line, label);
        blitz_put(line, value.text);
    }
}

static void put_header(blitz_writer *line, const logged_header *header)
{
    char buf[MAX_VALUE];
    int32_t full = blitz_host_get_header(header->name.ptr, header->name.len, buf, sizeof buf);
    if (full < 0) {
        return;
    }
    blitz_str value = blitz_slice(blitz_view(buf, sizeof buf), 0, (uint32_t)full);
    blitz_put(line, BLITZ_STR(" header."));
    blitz_put(line, header->name);
    blitz_put(line, BLITZ_STR("=\""));
    switch (header->kind) {
    case MASKED:
        blitz_put(line, MASK);
        break;
    case SHOWN_AS_URI:
        put_masked_uri(line, value, config_mask);
        put_cut_mark(line, full > MAX_VALUE);
        break;
    case SHOWN:
        put_escaped(line, value);
        put_cut_mark(line, full > MAX_VALUE);
        break;
    }
    blitz_put_char(line, '"');
}

static void put_headers(blitz_writer *line)
{
    for (uint32_t i = 0; i < header_count; i++) {
        put_header(line, &headers[i]);
    }
}

BLITZ_REQUEST(method, path)
{
    blitz_note_put(blitz_now_ms());
    blitz_writer line = blitz_writer_on(line_bytes, sizeof line_bytes);
    blitz_put(&line, BLITZ_STR("request method="));
    blitz_put(&line, method);
    put_path(&line, path);
    put_property(&line, BLITZ_STR(" client="), BLITZ_STR("client.address"));
    put_property(&line, BLITZ_STR(" id="), BLITZ_STR("request.id"));
    put_headers(&line);
    blitz_log(config_level, blitz_written(&line));
    return BLITZ_CONTINUE;
}

BLITZ_RESPONSE(status, body)
{
    (void)body;
    blitz_writer line = blitz_writer_on(line_bytes, sizeof line_bytes);
    blitz_put(&line, BLITZ_STR("response"));
    put_property(&line, BLITZ_STR(" method="), BLITZ_STR("request.method"));
    put_path(&line, blitz_property(BLITZ_STR("request.path")).text);
    blitz_put(&line, BLITZ_STR(" status="));
    blitz_put_i64(&line, status);
    int64_t started;
    if (blitz_note_take(&started)) {
        int64_t elapsed = blitz_now_ms() - started;
        blitz_put(&line, BLITZ_STR(" duration_ms="));
        blitz_put_i64(&line, elapsed > 0 ? elapsed : 0); /* the clock may be set back meanwhile */
    }
    put_property(&line, BLITZ_STR(" id="), BLITZ_STR("request.id"));
    put_headers(&line);
    blitz_log(config_level, blitz_written(&line));
    return BLITZ_CONTINUE;
}
