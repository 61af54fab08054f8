/* What operators of an API ask for, counted beside the traffic: at /metrics of the gateway, per plugin and name.
 *
 *   responses{class="2xx"}       how many responses of each class
 *   slow_responses               those that took longer than config.slow_ms
 *   response_ms                  a histogram
 *   last_error_timestamp_seconds when an upstream last answered with 5xx
 */
#include "blitz.h"

static uint32_t slow_ms;

BLITZ_INIT()
{
    return blitz_config_u32(BLITZ_STR("slow_ms"), 500, 0, 3600000, &slow_ms) ? 0 : -1;
}

BLITZ_REQUEST(method, path)
{
    (void)method;
    (void)path;
    blitz_note_put(blitz_now_ms());
    return BLITZ_CONTINUE;
}

static void count_class(int32_t status)
{
    /* Five names, whatever the upstream says: a metric has few. */
    switch (status / 100) {
    case 2:
        blitz_count(BLITZ_STR("responses{class=\"2xx\"}"), 1);
        break;
    case 3:
        blitz_count(BLITZ_STR("responses{class=\"3xx\"}"), 1);
        break;
    case 4:
        blitz_count(BLITZ_STR("responses{class=\"4xx\"}"), 1);
        break;
    case 5:
        blitz_count(BLITZ_STR("responses{class=\"5xx\"}"), 1);
        break;
    default:
        blitz_count(BLITZ_STR("responses{class=\"other\"}"), 1);
    }
}

BLITZ_RESPONSE(status, body)
{
    (void)body;
    int64_t started, now = blitz_now_ms();
    count_class(status);
    if (status >= 500) {
        blitz_gauge(BLITZ_STR("last_error_timestamp_seconds"), (double)(now / 1000));
    }
    if (blitz_note_take(&started) && now >= started) {
        blitz_observe(BLITZ_STR("response_ms"), (double)(now - started));
        if (now - started > slow_ms) {
            blitz_count(BLITZ_STR("slow_responses"), 1);
        }
    }
    return BLITZ_CONTINUE;
}
