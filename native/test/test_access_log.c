/* Lines of the access log of random facts, each text ending where memory ends: whole lines, each short enough, and
 * in order; and what does not fit is counted. */
#include "access_line.h"
#include "guard.h"
#include <string.h>

static uint64_t state = 77;

/* Octets flush with a page that cannot be read; most are hard to write. */
static blitz_text some_text(guarded memory, size_t most, bool is_ours)
{
    static const uint8_t hard[] = "\"\\\n\t \x7f\x01\xff\x80";
    size_t len = next_random(&state) % 3 == 0 ? 0 : next_random(&state) % (most + 1);
    uint8_t *at = memory.end - len;
    for (size_t i = 0; i < len; i++) {
        uint64_t pick = next_random(&state);
        at[i] = pick & 1 ? 'a' : is_ours ? (pick & 2 ? '"' : 'z') : hard[(pick >> 8) % (sizeof hard - 1)];
    }
    return (blitz_text){len > 0 ? at : NULL, len};
}

static blitz_access_record some_record(const guarded memory[14])
{
    blitz_access_record record = {
        .time = (double)(next_random(&state) % 4000000000u) + 0.5, .duration = (double)(next_random(&state) % 2000) / 1e6,
        .status = 200, .sent = next_random(&state), .received = next_random(&state) % 9, .tries = 1,
    };
    blitz_text *said[] = {&record.method, &record.target, &record.host, &record.user_agent, &record.referrer,
                          &record.upstream};
    blitz_text *ours[] = {&record.id, &record.client, &record.http, &record.scheme, &record.route, &record.plugin,
                          &record.cause, &record.error};
    for (size_t i = 0; i < 6; i++)
        *said[i] = some_text(memory[i], 6000, false);
    for (size_t i = 0; i < 8; i++)
        *ours[i] = some_text(memory[6 + i], 1200, true);
    return record;
}

int main(void)
{
    guarded memory[14];
    for (size_t i = 0; i < 14; i++)
        memory[i] = guard_new(8192);
    blitz_access_log *log = blitz_access_log_new(1 << 20);
    MUST(log != NULL, "no memory");
    uint64_t added = 0;
    MUST(blitz_access_log_sleep(log) == 1, "nothing waits");
    for (int i = 0; i < 6000; i++) {
        blitz_access_log_set_kind(log, BLITZ_ACCESS_JSON + i % 3);
        blitz_access_record record = some_record(memory);
        MUST(blitz_access_log_add(log, &record) == (i == 0), "the writer is woken once, %d", i);
        added++;
    }
    blitz_access_block *first = blitz_access_log_take(log);
    uint64_t lines = 0;
    for (blitz_access_block *block = first; block != NULL; block = block->next)
        for (const uint8_t *at = block->data, *end = at + block->len, *next; at < end; at = next, lines++) {
            next = memchr(at, '\n', (size_t)(end - at));
            MUST(next != NULL && next - at < BLITZ_ACCESS_LINE_SIZE, "line %zu", (size_t)lines);
            for (const uint8_t *octet = at; octet < next; octet++)
                MUST(*octet >= 0x20 && *octet < 0x7f, "octet %d", *octet);
            next++;
        }
    MUST(lines + blitz_access_log_dropped(log) == added && blitz_access_log_dropped(log) > 0, "%zu lines", (size_t)lines);
    blitz_access_blocks_free(first);
    MUST(blitz_access_log_take(log) == NULL && blitz_access_log_sleep(log) == 1, "all is taken");
    blitz_access_log_free(log);
    puts("access log: whole lines, short enough, and what is lost is counted");
    return 0;
}
