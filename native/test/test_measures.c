/* Figures: series that are entered, found again and added up; one more than there is room for; the text of it all. */
#include "measures.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define MUST(condition)                                                             \
    do                                                                              \
        if (!(condition)) {                                                         \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);         \
            exit(1);                                                                \
        }                                                                           \
    while (0)

enum { SLOTS = 2, FIGURES = 3, MANY = 60000 };

static uint64_t *series(blitz_measures *measures, uint32_t figure, int kind, const char *labels)
{
    return blitz_measures_series(measures, figure, kind, (const uint8_t *)labels, strlen(labels));
}

static double value(const blitz_merged *merged, uint32_t figure, const char *labels)
{
    return blitz_merged_value(merged, figure, (const uint8_t *)labels, strlen(labels));
}

int main(void)
{
    const uint8_t how[FIGURES] = {BLITZ_MERGE_SUM, BLITZ_MERGE_MAX, BLITZ_MERGE_SUM};
    uint8_t *memory = calloc(SLOTS, blitz_measures_slot_size());
    blitz_measures *writers[SLOTS];
    char labels[64];
    MUST(memory != NULL);
    for (int i = 0; i < SLOTS; i++)
        MUST((writers[i] = blitz_measures_open(memory + (size_t)i * blitz_measures_slot_size())) != NULL);
    for (int i = 0; i < MANY; i++) {             /* more than there is room for */
        snprintf(labels, sizeof labels, "a=\"%d\"", i);
        blitz_measures_add(series(writers[0], 0, BLITZ_MEASURE_COUNT, labels), 1);
    }
    blitz_measures_close(writers[0]);            /* it has crashed: the next one counts on */
    MUST((writers[0] = blitz_measures_open(memory)) != NULL);
    for (int i = 0; i < SLOTS; i++) {
        blitz_measures_add(series(writers[i], 0, BLITZ_MEASURE_COUNT, "a=\"0\""), 2);
        blitz_measures_set(series(writers[1], 1, BLITZ_MEASURE_GAUGE, ""), 3.5);
        blitz_measures_observe(series(writers[1], 2, BLITZ_MEASURE_SECONDS, ""), BLITZ_MEASURE_SECONDS, 1e300);
        blitz_measures_observe(series(writers[1], 2, BLITZ_MEASURE_SECONDS, ""), BLITZ_MEASURE_SECONDS, -0.0);
    }
    MUST(series(writers[1], 1, BLITZ_MEASURE_SECONDS, "") != series(writers[1], 1, BLITZ_MEASURE_GAUGE, ""));
    blitz_merged *merged = blitz_measures_merge(memory, SLOTS, how, FIGURES);
    MUST(merged != NULL);
    MUST(blitz_merged_refused(merged) > 0);
    MUST(value(merged, 0, "a=\"0\"") == 5);
    MUST(value(merged, 0, "a=\"1\"") == 1);
    MUST(isnan(value(merged, 0, "b")));
    MUST(value(merged, 1, "") == 3.5);
    MUST(value(merged, 2, "") == 4);
    blitz_text bounds[64];
    blitz_figure figures[FIGURES] = {0};
    uint8_t *text;
    for (int i = 0; i < 64; i++)
        bounds[i] = (blitz_text){(const uint8_t *)"1", 1};
    for (int i = 0; i < FIGURES; i++)
        figures[i] = (blitz_figure){.name = {(const uint8_t *)"n", 1}, .bounds = bounds};
    int64_t size = blitz_merged_text(merged, figures, FIGURES, &text);
    MUST(size > MANY / 2 && text[size - 1] == '\n');
    blitz_bytes_free(text);
    blitz_merged_free(merged);
    for (int i = 0; i < SLOTS; i++)
        blitz_measures_close(writers[i]);
    free(memory);
    puts("measures: what was counted is found again, added up and told");
    return 0;
}
