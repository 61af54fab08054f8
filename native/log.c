/* log.c: what a guest says, bounded and unforgeable.
 *
 * A line is escaped while it is copied into the instance's record buffer. Three bounds: the plugin's
 * level, the plugin's rate (all instances together; GCRA, long lines count for more), and what one call may
 * leave. Lines that a bound swallowed are counted per plugin; who takes the lines asks for the count. */
#include "guest.h"
#include "text.h"
#include <stdlib.h>
#include <string.h>

enum { RECORD_HEAD = 8, LEVEL_ERROR = 4, FLAG_TRUNCATED = 1 };
enum { GROWTH = 4, LINE_SIZE = 1024 };            /* bytes that one may become when it is escaped; that count as a line */
static const double NS = 1e9;
static const uint64_t LINE_NS = 3000;             /* what it costs to write one down, about */

static bool may_speak(blitz_plugin *plugin, size_t len)
{
    uint32_t rate = plugin->limits.log_lines_per_second;
    if (rate == 0)
        return true;
    uint64_t now = blitz_monotonic_ns(), interval = 1000000000u / rate;
    uint32_t burst = plugin->limits.log_burst > 0 ? plugin->limits.log_burst : 1;
    uint64_t tat = plugin->log_tat_ns > now ? plugin->log_tat_ns : now;
    if (tat - now > interval * (burst - 1))
        return false;
    plugin->log_tat_ns = tat + interval * (1 + len / LINE_SIZE);
    return true;
}

static void drop(blitz_plugin *plugin)
{
    if (plugin->log_dropped == 0)
        plugin->log_dropped_ns = blitz_monotonic_ns();
    plugin->log_dropped++;
}

uint64_t blitz_plugin_take_log_dropped(blitz_plugin *plugin, double min_age, double *seconds)
{
    uint64_t dropped = plugin->log_dropped;
    *seconds = dropped > 0 ? (double)(blitz_monotonic_ns() - plugin->log_dropped_ns) / NS : 0;
    if (dropped == 0 || *seconds < min_age)
        return 0;
    plugin->log_dropped = 0;
    return dropped;
}

static bool reserve(blitz_instance *instance, size_t more)
{
    size_t wanted = instance->log_len + more;
    if (wanted <= instance->log_cap)
        return true;
    size_t cap = instance->log_cap > 0 ? instance->log_cap : 512;
    while (cap < wanted)
        cap *= 2;
    uint8_t *grown = realloc(instance->log, cap);
    if (grown == NULL)
        return false;
    instance->log = grown;
    instance->log_cap = (uint32_t)cap;
    return true;
}

/* Escape text into a new record of at most room bytes. */
static void append(blitz_instance *instance, int level, const uint8_t *text, size_t len, size_t room)
{
    size_t most = len < room / GROWTH ? len * GROWTH : room;
    if (!reserve(instance, RECORD_HEAD + most)) {
        drop(instance->plugin);
        return;
    }
    uint8_t *record = instance->log + instance->log_len;
    size_t used;
    uint32_t written = (uint32_t)blitz_text_escape(record + RECORD_HEAD, most, text, len, &used);
    memset(record, 0, RECORD_HEAD);
    record[0] = (uint8_t)level;
    record[1] = used < len ? FLAG_TRUNCATED : 0;
    memcpy(record + 4, &written, sizeof written);
    instance->log_lines++;
    instance->log_len += RECORD_HEAD + written;
    instance->log_used += RECORD_HEAD + written;
}

void blitz_log_line(blitz_instance *instance, int level, const uint8_t *text, size_t len)
{
    blitz_plugin *plugin = instance->plugin;
    if (level < plugin->limits.log_level)
        return;
    size_t budget = plugin->limits.max_log_size;
    uint32_t most = plugin->limits.max_log_lines;
    bool full = instance->log_used + RECORD_HEAD >= budget || (most > 0 && instance->log_lines >= most);
    size_t room = full ? 0 : budget - instance->log_used - RECORD_HEAD;
    if (full || !may_speak(plugin, len < room ? len : room)) {
        drop(plugin);
        return;
    }
    append(instance, level, text, len, room);
}

/* ---------------------------------------------------------------- standard output and error */

static void end_line(blitz_instance *instance, int stream)
{
    blitz_stdio *stdio = instance->stdio;
    blitz_log_line(instance, stream == 0 ? 2 : LEVEL_ERROR, stdio->line[stream], stdio->len[stream]);
    stdio->len[stream] = 0;
}

/* Lines as they end; what does not fit a line buffer is cut into lines of that size. */
void blitz_log_stdio(blitz_instance *instance, int stream, const uint8_t *text, size_t len)
{
    if (instance->stdio == NULL)
        instance->stdio = calloc(1, sizeof *instance->stdio);
    blitz_stdio *stdio = instance->stdio;
    if (stdio == NULL)
        return;
    while (len > 0) {
        const uint8_t *newline = memchr(text, '\n', len);
        size_t part = newline != NULL ? (size_t)(newline - text) : len;
        size_t room = BLITZ_STDIO_LINE - stdio->len[stream];
        size_t take = part < room ? part : room;
        memcpy(stdio->line[stream] + stdio->len[stream], text, take);
        stdio->len[stream] += (uint32_t)take;
        bool ended = newline != NULL && take == part;
        if (ended || take == room)
            end_line(instance, stream);
        text += take + ended;
        len -= take + ended;
    }
}

void blitz_log_end_call(blitz_instance *instance)
{
    for (int stream = 0; instance->stdio != NULL && stream < 2; stream++)
        if (instance->stdio->len[stream] > 0)
            end_line(instance, stream);
    free(instance->stdio);
    instance->stdio = NULL;
}

blitz_text blitz_instance_take_log(blitz_instance *instance)
{
    blitz_text taken = {instance->log, instance->log_len};
    if (taken.len > 0)
        blitz_turn_charge(&instance->plugin->engine->turn, LINE_NS * (instance->log_lines + 1));
    instance->log_lines = 0;
    instance->log_len = 0;
    return taken;
}
