/* log_lines.c: lines of plugins as they stand in the log, made without Python.
 *
 * How a line looks is the formatter's business (blitz/cli/log_format.py): it has spelt one line of this plugin,
 * hook and level, and three marks in that spelling say where the time, the text and the request's id stand. Here
 * they are put in. Lines are kept in one buffer, which whoever drives the exchanges takes in one piece; what does
 * not fit there, was cut, or has no spelling yet is left to Python, as BLITZ_R_LOGS says. So nothing is lost here. */
#include "guest.h"
#include "text.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RECORD_HEAD = 8, TRUNCATED = 1, TIME_SIZE = sizeof "2026-01-01T00:00:00.000Z" - 1, SECOND_SIZE = 19 };
static const uint64_t WRITE_NS = 300;             /* of each line, for who writes it to the log */

struct blitz_log_lines {
    uint8_t *bytes;
    size_t size, len;
    time_t second;                               /* that time is the text of, but for its milliseconds */
    char time[TIME_SIZE + 1];
};

blitz_log_lines *blitz_log_lines_new(size_t size)
{
    blitz_log_lines *lines = calloc(1, sizeof *lines);
    uint8_t *bytes = malloc(size > 0 ? size : 1);
    if (lines == NULL || bytes == NULL) {
        free(lines);
        free(bytes);
        return NULL;
    }
    *lines = (blitz_log_lines){.bytes = bytes, .size = size, .second = -1};
    return lines;
}

void blitz_log_lines_free(blitz_log_lines *lines)
{
    if (lines == NULL)
        return;
    free(lines->bytes);
    free(lines);
}

blitz_text blitz_log_lines_take(blitz_log_lines *lines)
{
    blitz_text taken = {lines->bytes, lines->len};
    lines->len = 0;
    return taken;
}

/* ---------------------------------------------------------------- how a line is spelt */

static blitz_spelling *spelling_of(blitz_plugin *plugin, int hook, int level)
{
    return level >= 0 && level < BLITZ_LOG_LEVELS ? &plugin->spellings[hook == BLITZ_HOOK_RESPONSE][level] : NULL;
}

int blitz_plugin_spell(blitz_plugin *plugin, const blitz_log_lines *lines, int is_response, int level,
                       int json, const uint8_t *spelling, size_t len)
{
    blitz_spelling *known = spelling_of(plugin, is_response ? BLITZ_HOOK_RESPONSE : BLITZ_HOOK_REQUEST, level);
    if (known == NULL)
        return BLITZ_E_STATE;
    uint8_t *copy = malloc(len > 0 ? len : 1);
    if (copy == NULL)
        return BLITZ_E_NOMEM;
    if (len > 0)
        memcpy(copy, spelling, len);
    free(known->bytes);
    *known = (blitz_spelling){lines, copy, len, json != 0};
    return 0;
}

/* ---------------------------------------------------------------- writing */

static bool put(blitz_log_lines *lines, const uint8_t *bytes, size_t len)
{
    if (len > lines->size - lines->len)
        return false;
    if (len > 0)
        memcpy(lines->bytes + lines->len, bytes, len);
    lines->len += len;
    return true;
}

static bool put_text(blitz_log_lines *lines, blitz_text text, bool json)
{
    if (!json)
        return put(lines, text.ptr, text.len);
    int64_t written = blitz_text_json(lines->bytes + lines->len, lines->size - lines->len, text.ptr, text.len);
    lines->len += written > 0 ? (size_t)written : 0;
    return written >= 0;
}

static bool put_time(blitz_log_lines *lines, const struct timespec *now)
{
    if (now->tv_sec != lines->second) {
        struct tm tm;
        if (gmtime_r(&now->tv_sec, &tm) == NULL ||
            strftime(lines->time, sizeof lines->time, "%Y-%m-%dT%H:%M:%S", &tm) != SECOND_SIZE)
            return false;
        lines->second = now->tv_sec;
    }
    unsigned ms = (unsigned)(now->tv_nsec / 1000000);
    uint8_t rest[TIME_SIZE - SECOND_SIZE] = {'.', (uint8_t)('0' + ms / 100), (uint8_t)('0' + ms / 10 % 10),
                                             (uint8_t)('0' + ms % 10), 'Z'};
    return put(lines, (const uint8_t *)lines->time, SECOND_SIZE) && put(lines, rest, sizeof rest);
}

typedef struct { blitz_text text; const struct timespec *now; blitz_exchange *exchange; } told;

static bool put_mark(blitz_log_lines *lines, uint8_t mark, bool json, const told *what)
{
    if (mark == BLITZ_LOG_TIME)
        return put_time(lines, what->now);
    if (mark == BLITZ_LOG_TEXT)
        return put_text(lines, what->text, json);
    return put(lines, blitz_exchange_id(what->exchange), sizeof what->exchange->id);
}

static bool put_line(blitz_log_lines *lines, const blitz_spelling *spelling, const told *what)
{
    size_t from = 0;
    for (size_t at = 0; at < spelling->len; at++) {
        uint8_t byte = spelling->bytes[at];
        if (byte < BLITZ_LOG_TIME || byte > BLITZ_LOG_ID)
            continue;
        if (!put(lines, spelling->bytes + from, at - from) || !put_mark(lines, byte, spelling->json, what))
            return false;
        from = at + 1;
    }
    return put(lines, spelling->bytes + from, spelling->len - from) && put(lines, (const uint8_t *)"\n", 1);
}

static bool put_record(blitz_log_lines *lines, blitz_instance *instance, const uint8_t *record, told *what)
{
    const blitz_spelling *spelling = spelling_of(instance->plugin, instance->hook, record[0]);
    return spelling != NULL && spelling->lines == lines && (record[1] & TRUNCATED) == 0 &&
           put_line(lines, spelling, what);
}

bool blitz_log_lines_collect(blitz_log_lines *lines, blitz_instance *instance, blitz_exchange *exchange)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    told what = {.now = &now, .exchange = exchange};
    uint64_t from = blitz_cycles();
    size_t before = lines->len, n = 0;
    bool good = true;
    for (size_t at = 0; good && at < instance->log_len; at += RECORD_HEAD + what.text.len, n++) {
        const uint8_t *record = instance->log + at;
        uint32_t len;
        memcpy(&len, record + 4, sizeof len);
        what.text = (blitz_text){record + RECORD_HEAD, len};
        good = put_record(lines, instance, record, &what);
    }
    blitz_turn *turn = &instance->plugin->engine->turn;
    turn->spent += blitz_cycles() - from;
    if (!good) {
        lines->len = before;
        return false;
    }
    blitz_turn_charge(turn, WRITE_NS * n);
    instance->log_lines = 0;
    instance->log_len = 0;
    return true;
}
