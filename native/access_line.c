/* access_line.c: one exchange as a line of the access log: an object in JSON, or the formats that web servers write.
 *
 * What clients sent is shown in printable ASCII, shortened to MAX_*, and in the end so far that the whole line is
 * one write to a pipe. docs/operations.md explains the fields; their order is the one here.
 */
#include "access_line.h"
#include <stdio.h>
#include <string.h>

enum {
    MAX_TARGET = 2048,                   /* characters of a target; the rest is replaced by "..." */
    MAX_SAID = 300,                      /* of what a client says about itself, and of a name */
    MAX_SMALL = 100                      /* of a method */
};

/* ---------------------------------------------------------------- writing, up to the size of a line */

typedef struct {
    uint8_t *dst;
    size_t len;                          /* counts on where nothing more fits */
} line;

static void put(line *out, const void *src, size_t len)
{
    if (out->len < BLITZ_ACCESS_LINE_SIZE && len > 0) {
        size_t room = BLITZ_ACCESS_LINE_SIZE - out->len;
        memcpy(out->dst + out->len, src, len < room ? len : room);
    }
    out->len += len;
}

static void put_text(line *out, blitz_text text) { put(out, text.ptr, text.len); }
static void put_literal(line *out, const char *text) { put(out, text, strlen(text)); }

static void put_number(line *out, uint64_t number)
{
    char digits[20];
    size_t at = sizeof digits;
    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    put(out, digits + at, sizeof digits - at);
}

/* Seconds, rounded to millionths: the shortest text, as JSON encoders and Python write it. Those differ in where
 * the exponent begins: as_python below a ten-thousandth, else below a hundred-thousandth. */
static void put_seconds(line *out, double seconds, bool as_python)
{
    char text[350];                      /* of the largest double */
    int len = snprintf(text, sizeof text, "%.6f", seconds > 0 ? seconds : 0.0);
    size_t n = len > 0 ? (size_t)len : 0;
    unsigned millionths = 0;             /* of less than a ten-thousandth: the last two digits */
    if (n == 8 && memcmp(text, "0.0000", 6) == 0)
        millionths = (unsigned)(text[6] - '0') * 10 + (unsigned)(text[7] - '0');
    if (millionths > 0 && millionths < (as_python ? 100 : 10)) {
        bool two = millionths >= 10;
        len = two && millionths % 10 ? snprintf(text, sizeof text, "%u.%ue-05", millionths / 10, millionths % 10)
              : two                  ? snprintf(text, sizeof text, "%ue-05", millionths / 10)
                                     : snprintf(text, sizeof text, as_python ? "%ue-06" : "%ue-6", millionths);
        put(out, text, (size_t)len);
        return;
    }
    while (n > 2 && text[n - 1] == '0' && text[n - 2] != '.')
        n--;
    put(out, text, n);
}

/* ---------------------------------------------------------------- what others said */

static bool is_plain(blitz_text text)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.ptr[i] < 0x20 || text.ptr[i] > 0x7e)
            return false;
    return true;
}

/* One octet in printable ASCII. -> characters, at most 4 */
static size_t show_octet(uint8_t spelt[5], uint8_t octet)
{
    size_t used;
    if (octet >= 0x80)
        return (size_t)snprintf((char *)spelt, 5, "\\x%02x", octet);
    return blitz_text_escape(spelt, 4, &octet, 1, &used);
}

size_t blitz_access_show(uint8_t *dst, size_t most, const uint8_t *octets, size_t size)
{
    bool is_cut = size > most;
    size_t len = 0;
    for (size_t i = 0; i < size && len < most; i++) {
        uint8_t spelt[5];
        size_t n = show_octet(spelt, octets[i]), fits = n < most - len ? n : most - len;
        memcpy(dst + len, spelt, fits);
        len += fits;
        is_cut |= fits < n || (len == most && i + 1 < size);
    }
    if (is_cut && most >= 3)
        memcpy(dst + most - 3, "...", 3);
    return len;
}

/* The octets as they are shown: themselves, or in room for so many characters. */
static blitz_text show(uint8_t *room, blitz_text octets, size_t most)
{
    if (octets.len <= most && is_plain(octets))
        return octets;
    return (blitz_text){room, blitz_access_show(room, most, octets.ptr, octets.len)};
}

typedef struct {                         /* of a record */
    blitz_text method, target, host, user_agent, referrer, upstream, identity;
    uint8_t room[2 * MAX_SMALL + MAX_TARGET + 4 * MAX_SAID];
} shown;

static void show_all(shown *to, const blitz_access_record *record)
{
    uint8_t *room = to->room;
    to->method = show(room, record->method, MAX_SMALL);
    to->target = show(room += MAX_SMALL, record->target, MAX_TARGET);
    to->host = show(room += MAX_TARGET, record->host, MAX_SAID);
    to->user_agent = show(room += MAX_SAID, record->user_agent, MAX_SAID);
    to->referrer = show(room += MAX_SAID, record->referrer, MAX_SAID);
    to->upstream = show(room += MAX_SAID, record->upstream, MAX_SAID);
    to->identity = show(room += MAX_SAID, record->identity, MAX_SMALL);
}

/* ---------------------------------------------------------------- what may be shortened */

typedef struct {
    blitz_text text;
    bool is_cut;                         /* "..." stands for the rest */
} piece;

/* text, if it has at most so many characters, or its beginning. */
static piece cut(blitz_text text, size_t most)
{
    if (text.len <= most)
        return (piece){text, false};
    size_t kept = most > 3 ? most - 3 : 0, characters = 0, end = 0;
    for (size_t i = 0; i < text.len && characters <= most; i++) {
        if ((text.ptr[i] & 0xc0) == 0x80)
            continue;                    /* within a character */
        if (characters++ == kept)
            end = i;
    }
    return characters <= most ? (piece){text, false} : (piece){{text.ptr, end}, true};
}

/* ---------------------------------------------------------------- JSON */

static void put_json_special(line *out, uint8_t octet)
{
    static const char letters[] = "btn\0fr";
    char text[8];
    if (octet == '"' || octet == '\\')
        snprintf(text, sizeof text, "\\%c", octet);
    else if (octet >= '\b' && octet <= '\r' && letters[octet - '\b'])
        snprintf(text, sizeof text, "\\%c", letters[octet - '\b']);
    else
        snprintf(text, sizeof text, "\\u%04x", octet);
    put_literal(out, text);
}

/* UTF-8 as the inside of a string (RFC 8259 section 7). */
static void put_json_text(line *out, blitz_text text)
{
    size_t from = 0;
    if (text.len == 0)
        return;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t octet = text.ptr[i];
        if (octet >= 0x20 && octet != '"' && octet != '\\')
            continue;
        put(out, text.ptr + from, i - from);
        put_json_special(out, octet);
        from = i + 1;
    }
    put(out, text.ptr + from, text.len - from);
}

static void put_member(line *out, const char *before, piece value)
{
    put_literal(out, before);
    put_json_text(out, value.text);
    put_literal(out, value.is_cut ? "...\"" : "\"");
}

/* The same, unless there is nothing to say. */
static void put_optional(line *out, const char *before, piece value)
{
    if (value.text.len > 0 || value.is_cut)
        put_member(out, before, value);
}

static piece whole(blitz_text text) { return (piece){text, false}; }

static void put_stamp(line *out, const blitz_access_clock *clock, double time)
{
    unsigned milliseconds = (unsigned)((time - (double)clock->second) * 1000);
    char text[8] = {'.', (char)('0' + milliseconds / 100 % 10), (char)('0' + milliseconds / 10 % 10),
                    (char)('0' + milliseconds % 10), 'Z'};
    put(out, clock->text, clock->len);
    put(out, text, 5);
}

static void put_json(line *out, const blitz_access_record *record, const shown *said, size_t most,
                     const blitz_access_clock *clock)
{
    put_literal(out, "{\"time\":\"");
    put_stamp(out, clock, record->time);
    put_member(out, "\",\"id\":\"", whole(record->id));
    put_member(out, ",\"client\":\"", whole(record->client));
    put_member(out, ",\"method\":\"", whole(said->method));
    put_member(out, ",\"target\":\"", cut(said->target, most));
    put_member(out, ",\"http\":\"", whole(record->http));
    put_literal(out, ",\"status\":");
    put_number(out, record->status);
    put_literal(out, ",\"received\":");
    put_number(out, record->received);
    put_literal(out, ",\"sent\":");
    put_number(out, record->sent);
    put_literal(out, ",\"duration\":");
    put_seconds(out, record->duration, false);
    put_optional(out, ",\"identity\":\"", whole(said->identity));
    put_optional(out, ",\"scheme\":\"", whole(record->scheme));
    put_optional(out, ",\"host\":\"", cut(said->host, most));
    put_optional(out, ",\"user_agent\":\"", cut(said->user_agent, most));
    put_optional(out, ",\"referrer\":\"", cut(said->referrer, most));
    put_optional(out, ",\"route\":\"", cut(record->route, most));
    put_optional(out, ",\"upstream\":\"", cut(said->upstream, most));
    if (record->tries > 0) {
        put_literal(out, ",\"tries\":");
        put_number(out, record->tries);
    }
    put_optional(out, ",\"plugin\":\"", whole(record->plugin));
    put_optional(out, ",\"cause\":\"", whole(record->cause));
    put_optional(out, ",\"error\":\"", cut(record->error, most));
    put(out, "}", 1);
}

/* ---------------------------------------------------------------- NCSA Common and Combined Log Format */

/* Within quotes. */
static void put_escaped(line *out, blitz_text text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i] == '"' || text.ptr[i] == '\\')
            put(out, "\\", 1);
        put(out, text.ptr + i, 1);
    }
}

static void put_piece(line *out, piece value)
{
    put_escaped(out, value.text);
    if (value.is_cut)
        put(out, "...", 3);
}

static bool is_nothing(piece value) { return value.text.len == 0 && !value.is_cut; }

static void put_quoted(line *out, piece value)
{
    put(out, "\"", 1);
    if (is_nothing(value))
        put(out, "-", 1);
    put_piece(out, value);
    put(out, "\"", 1);
}

static void put_word(line *out, const char *name, piece value)
{
    if (is_nothing(value))
        return;
    put(out, " ", 1);
    put_literal(out, name);
    put(out, "=", 1);
    if (memchr(value.text.ptr, ' ', value.text.len) != NULL || memchr(value.text.ptr, '"', value.text.len) != NULL) {
        put_quoted(out, value);
    } else {
        put_text(out, value.text);
        put_literal(out, value.is_cut ? "..." : "");
    }
}

static void put_or_dash(line *out, blitz_text text)
{
    if (text.len > 0)
        put_text(out, text);
    else
        put(out, "-", 1);
}

/* A name must not end its column, nor look like another one. */
static void put_user(line *out, blitz_text name)
{
    if (name.len == 0)
        put(out, "-", 1);
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] == ' ' || name.ptr[i] == '"')
            put_literal(out, name.ptr[i] == ' ' ? "\\x20" : "\\x22");
        else
            put(out, name.ptr + i, 1);
    }
}

static void put_ncsa_time(line *out, const struct tm *utc)
{
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    char text[64];
    snprintf(text, sizeof text, " [%02d/%s/%04d:%02d:%02d:%02d +0000] ", utc->tm_mday, months[utc->tm_mon % 12],
             utc->tm_year + 1900, utc->tm_hour, utc->tm_min, utc->tm_sec);
    put_literal(out, text);
}

static void put_ncsa(line *out, const blitz_access_record *record, const shown *said, size_t most,
                     const blitz_access_clock *clock)
{
    put_or_dash(out, record->client);
    put_literal(out, " - ");
    put_user(out, said->identity);
    put_ncsa_time(out, &clock->utc);
    put(out, "\"", 1);
    if (said->method.len > 0) {
        piece target = cut(said->target, most);
        put_escaped(out, said->method);
        put(out, " ", 1);
        put_piece(out, target);
        put_literal(out, is_nothing(target) ? "- HTTP/" : " HTTP/");
        put_or_dash(out, record->http);
    } else {
        put(out, "-", 1);
    }
    put(out, "\" ", 2);
    put_number(out, record->status);
    put(out, " ", 1);
    if (record->sent > 0)
        put_number(out, record->sent);
    else
        put(out, "-", 1);
}

static void put_id(line *out, const blitz_access_record *record)
{
    put(out, " ", 1);
    put_text(out, record->id);
}

static void put_common(line *out, const blitz_access_record *record, const shown *said, size_t most,
                       const blitz_access_clock *clock)
{
    put_ncsa(out, record, said, most, clock);
    put_id(out, record);
}

/* The combined format, the request id, and the rest as NAME=VALUE. */
static void put_combined(line *out, const blitz_access_record *record, const shown *said, size_t most,
                         const blitz_access_clock *clock)
{
    put_ncsa(out, record, said, most, clock);
    put(out, " ", 1);
    put_quoted(out, cut(said->referrer, most));
    put(out, " ", 1);
    put_quoted(out, cut(said->user_agent, most));
    put_id(out, record);
    put_word(out, "scheme", whole(record->scheme));
    put_word(out, "host", cut(said->host, most));
    put_word(out, "route", cut(record->route, most));
    put_word(out, "upstream", cut(said->upstream, most));
    if (record->tries > 0) {
        put_literal(out, " tries=");
        put_number(out, record->tries);
    }
    put_literal(out, " duration=");
    put_seconds(out, record->duration, true);
    put_word(out, "plugin", whole(record->plugin));
    put_word(out, "cause", whole(record->cause));
}

/* ---------------------------------------------------------------- a line */

static void set_clock(blitz_access_clock *clock, double time)
{
    time_t second = (time_t)time;
    if (clock->is_known && second == (time_t)clock->second)
        return;
    clock->is_known = true;
    clock->second = second;
    gmtime_r(&second, &clock->utc);
    clock->len = strftime(clock->text, sizeof clock->text, "%Y-%m-%dT%H:%M:%S", &clock->utc);
}

size_t blitz_access_line(uint8_t *dst, int kind, const blitz_access_record *record, blitz_access_clock *clock)
{
    shown said;
    line out = {dst, 0};
    set_clock(clock, record->time);
    show_all(&said, record);
    /* What is quoted takes more room than it has characters. */
    for (size_t most = MAX_TARGET;; most /= 2) {
        out.len = 0;
        if (kind == BLITZ_ACCESS_JSON)
            put_json(&out, record, &said, most, clock);
        else if (kind == BLITZ_ACCESS_COMBINED)
            put_combined(&out, record, &said, most, clock);
        else
            put_common(&out, record, &said, most, clock);
        if (out.len < BLITZ_ACCESS_LINE_SIZE || most <= 3)
            break;
    }
    return out.len < BLITZ_ACCESS_LINE_SIZE ? out.len : BLITZ_ACCESS_LINE_SIZE - 1;
}
