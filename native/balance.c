/* balance.c: which endpoint of a cluster gets a request, and when one of them is left out. The only place where that is
 * decided, for the fast path and for Python. Knows no clock and no source of randomness: both are given.
 *
 * Choosing changes nothing, so that whoever finds no connection there can leave the choice to somebody else, who comes
 * to the same one. blitz_cluster_take says that the request goes there.
 *
 * Endpoints are preferred in this order: those that work, those that failed a moment ago, those that a health check
 * has found down. So a cluster that is down as a whole is tried all the same. One that an
 * operator drains is not, whatever becomes of the others.
 *
 * - round robin is smooth and weighted, as nginx has it: an endpoint's account grows by its weight with each request,
 *   the richest one is taken and pays the sum of all weights.
 * - least_conn takes the fewest exchanges per weight, and goes round between equals.
 * - random_two draws two by weight and takes the less busy one (Mitzenmacher, "The power of two choices", 2001).
 * - hash is weighted rendezvous hashing (Thaler and Ravishankar 1998): each endpoint draws a number from the key and
 *   its own name, and the least goes first. An endpoint that comes or goes moves its own keys and no others, which no
 *   ring of points does better. The load is bounded (Mirrokni, Thorup and Zadimoghaddam 2018): one that has much more
 *   than its share is passed over. */
#include "head.h"
#include <math.h>
#include <string.h>

static const double LEAST_START = 0.1;   /* of its weight: what an endpoint that is back begins with */
static const double OVERLOAD = 1.25;     /* times its share of what runs: no key goes to one that has so much ... */
static const double FREE_LOAD = 8;       /* ... or so many exchanges: below that there is no load to speak of */

/* ---------------------------------------------------------------- numbers */

/* SplitMix64 (Steele, Lea and Flood 2014): every bit of x decides about every bit of the result. */
static uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static double unit(uint64_t x) { return ((double)(x >> 11) + 0.5) * 0x1p-53; }   /* in (0, 1) */

uint64_t blitz_balance_hash(const uint8_t *bytes, size_t len)
{
    uint64_t h = 0xcbf29ce484222325u;    /* FNV-1a, then mixed */
    for (size_t i = 0; i < len; i++)
        h = (h ^ bytes[i]) * 0x100000001b3u;
    return mix(h);
}

/* ---------------------------------------------------------------- what a request says */

static bool is_blank(uint8_t byte) { return byte == ' ' || byte == '\t'; }

/* The value of the first cookie of that name in one Cookie field (RFC 6265 section 4.2.1). */
static bool find_in_field(blitz_text field, blitz_text name, blitz_text *value)
{
    const uint8_t *at = field.ptr, *end = field.ptr + field.len;
    while (at < end) {
        while (at < end && is_blank(*at))
            at++;
        const uint8_t *stop = memchr(at, ';', (size_t)(end - at));
        const uint8_t *next = stop != NULL ? stop + 1 : end;
        stop = stop != NULL ? stop : end;
        if ((size_t)(stop - at) > name.len && at[name.len] == '=' && memcmp(at, name.ptr, name.len) == 0) {
            while (stop > at + name.len + 1 && is_blank(stop[-1]))
                stop--;
            *value = (blitz_text){at + name.len + 1, (size_t)(stop - at) - name.len - 1};
            return true;
        }
        at = next;
    }
    return false;
}

static bool find_field(const blitz_head *head, const uint8_t *name, size_t len, uint32_t start, blitz_text *value,
                       uint32_t *next)
{
    int at = blitz_head_find(head, name, len, start);
    if (at < 0)
        return false;
    *value = (blitz_text){blitz_at(head, head->fields[at].value), head->fields[at].value.len};
    *next = (uint32_t)at + 1;
    return true;
}

static bool find_cookie(const blitz_head *head, blitz_text name, blitz_text *value)
{
    blitz_text field;
    uint32_t next = 0;
    while (find_field(head, (const uint8_t *)"cookie", 6, next, &field, &next))
        if (find_in_field(field, name, value))
            return true;
    return false;
}

/* What the key of a request is made of; false: it has none. */
static bool find_key(const blitz_cluster *cluster, const blitz_exchange *exchange, blitz_text *key)
{
    const blitz_head *request = exchange->request;
    uint32_t next;
    switch (cluster->hash_on) {
    case BLITZ_HASH_CLIENT:
        if (exchange->peer == NULL)
            return false;
        *key = exchange->peer->address;
        break;
    case BLITZ_HASH_HEADER:
        if (!find_field(request, cluster->hash_name.ptr, cluster->hash_name.len, 0, key, &next))
            return false;
        break;
    case BLITZ_HASH_COOKIE:
        if (!find_cookie(request, cluster->hash_name, key))
            return false;
        break;
    default: {
        const uint8_t *target = blitz_at(request, request->target);
        const uint8_t *query = memchr(target, '?', request->target.len);
        *key = (blitz_text){target, query != NULL ? (size_t)(query - target) : request->target.len};
    }
    }
    return key->len > 0;
}

/* ---------------------------------------------------------------- who may be chosen */

enum { WORKING, FAILING, DOWN, LEVELS };

static int level_of(const blitz_endpoint *endpoint, double now)
{
    if (endpoint->state != BLITZ_ENDPOINT_READY)
        return endpoint->state == BLITZ_ENDPOINT_DOWN ? DOWN : LEVELS;
    return now < endpoint->fails_until ? FAILING : WORKING;
}

typedef struct {
    const blitz_cluster *cluster;
    const blitz_exchange *exchange;      /* or NULL */
    const uint8_t *tried;                /* or NULL */
    double now;
    int level;
} contest;

static bool takes_part(const contest *c, uint32_t i)
{
    return (c->tried == NULL || !c->tried[i]) && level_of(c->cluster->endpoints[i], c->now) == c->level;
}

/* One that was away gets its share step by step: its caches are cold. */
static double weight_of(const contest *c, uint32_t i)
{
    const blitz_endpoint *endpoint = c->cluster->endpoints[i];
    double slow = c->cluster->slow_start;
    if (slow <= 0)
        return endpoint->weight;
    double age = c->now - fmax(endpoint->back_since, endpoint->fails_until);
    return age >= slow ? endpoint->weight : endpoint->weight * fmax(age / slow, LEAST_START);
}

static double load_of(const contest *c, uint32_t i) { return c->cluster->endpoints[i]->active / weight_of(c, i); }
static double account_of(const contest *c, uint32_t i) { return c->cluster->endpoints[i]->account + weight_of(c, i); }

/* ---------------------------------------------------------------- the algorithms: -> an index, or -1: nobody takes part */

static int32_t whose_turn(const contest *c)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < c->cluster->n; i++)
        if (takes_part(c, i) && (best < 0 || account_of(c, i) > account_of(c, (uint32_t)best)))
            best = (int32_t)i;
    return best;
}

static int32_t least_busy(const contest *c)
{
    int32_t best = -1;
    for (uint32_t i = 0; i < c->cluster->n; i++) {
        if (!takes_part(c, i))
            continue;
        double more = best < 0 ? -1 : load_of(c, i) - load_of(c, (uint32_t)best);
        if (more < 0 || (more <= 0 && account_of(c, i) > account_of(c, (uint32_t)best)))
            best = (int32_t)i;
    }
    return best;
}

/* One by weight, at is where in [0, 1) of all weights, but not the one that is left out. */
static int32_t draw(const contest *c, double at, int32_t but)
{
    double sum = 0;
    int32_t last = -1;
    for (uint32_t i = 0; i < c->cluster->n; i++)
        if (takes_part(c, i) && (int32_t)i != but)
            sum += weight_of(c, i);
    at *= sum;
    for (uint32_t i = 0; i < c->cluster->n; i++) {
        if (!takes_part(c, i) || (int32_t)i == but)
            continue;
        last = (int32_t)i;
        at -= weight_of(c, i);
        if (at < 0)
            return last;
    }
    return last;
}

static int32_t one_of_two(const contest *c)
{
    uint64_t random = mix(c->cluster->random);
    int32_t one = draw(c, unit(random), -1), other = one < 0 ? -1 : draw(c, unit(mix(random)), one);
    return other >= 0 && load_of(c, (uint32_t)other) < load_of(c, (uint32_t)one) ? other : one;
}

static int32_t nearest(const contest *c, uint64_t key)
{
    double weights = 0, active = 1, least = INFINITY;
    int32_t best = -1;
    for (uint32_t i = 0; i < c->cluster->n; i++)
        if (takes_part(c, i)) {
            weights += c->cluster->endpoints[i]->weight;
            active += c->cluster->endpoints[i]->active;
        }
    for (uint32_t i = 0; i < c->cluster->n; i++) {
        const blitz_endpoint *endpoint = c->cluster->endpoints[i];
        double most = fmax(FREE_LOAD, ceil(OVERLOAD * active * endpoint->weight / weights));
        if (!takes_part(c, i) || endpoint->active + 1 > most)
            continue;
        double distance = -log(unit(mix(key ^ endpoint->key))) / endpoint->weight;
        if (distance < least) {
            least = distance;
            best = (int32_t)i;
        }
    }
    return best;
}

static int32_t pick(const contest *c)
{
    blitz_text key;
    switch (c->cluster->lb) {
    case BLITZ_LB_ROUND_ROBIN:
        return whose_turn(c);
    case BLITZ_LB_RANDOM_TWO:
        return one_of_two(c);
    case BLITZ_LB_HASH:
        if (c->exchange != NULL && find_key(c->cluster, c->exchange, &key))
            return nearest(c, blitz_balance_hash(key.ptr, key.len));
    }
    return least_busy(c);                /* also for a request without a key */
}

/* The endpoint that a cookie of the request names, if it works; -1: none. */
static int32_t named_by_cookie(const contest *c)
{
    const blitz_cluster *cluster = c->cluster;
    blitz_text said;
    if (cluster->sticky.len == 0 || c->exchange == NULL || !find_cookie(c->exchange->request, cluster->sticky, &said))
        return -1;
    for (uint32_t i = 0; i < cluster->n; i++) {
        blitz_text token = cluster->endpoints[i]->token;
        if (token.len > 0 && token.len == said.len && memcmp(token.ptr, said.ptr, said.len) == 0)
            return takes_part(c, i) ? (int32_t)i : -1;
    }
    return -1;
}

int32_t blitz_cluster_choose(const blitz_cluster *cluster, const blitz_exchange *exchange, double now,
                             const uint8_t *tried)
{
    contest c = {cluster, exchange, tried, now, WORKING};
    if (cluster->n == 1)
        return (tried != NULL && tried[0]) || cluster->endpoints[0]->state == BLITZ_ENDPOINT_DRAINED ? -1 : 0;
    int32_t found = named_by_cookie(&c);
    for (; found < 0 && c.level < LEVELS; c.level++)
        found = pick(&c);
    return found;
}

/* Going round alone never leads beyond the sum. Cookies and keys do, and what they have taken for hours is not to be
 * made up for by as many requests in a row. */
static double bounded(double account, double sum) { return fmax(fmin(account, sum), -sum); }

void blitz_cluster_take(blitz_cluster *cluster, uint32_t index, double now)
{
    cluster->requests++;
    if (cluster->n == 1)
        return;
    contest c = {cluster, NULL, NULL, now, level_of(cluster->endpoints[index], now)};
    double sum = 0;
    for (uint32_t i = 0; i < cluster->n; i++)
        if (takes_part(&c, i)) {
            double weight = weight_of(&c, i);
            cluster->endpoints[i]->account += weight;
            sum += weight;
        }
    cluster->endpoints[index]->account -= sum;
    for (uint32_t i = 0; i < cluster->n; i++)
        cluster->endpoints[i]->account = bounded(cluster->endpoints[i]->account, sum);
    cluster->random = mix(cluster->random);
}

int blitz_cluster_sticks(const blitz_cluster *cluster, const blitz_exchange *exchange, uint32_t index)
{
    blitz_text said, token = cluster->endpoints[index]->token;
    return find_cookie(exchange->request, cluster->sticky, &said) && token.len == said.len &&
           memcmp(token.ptr, said.ptr, said.len) == 0;
}

int blitz_cluster_stick(const blitz_cluster *cluster, blitz_exchange *exchange, uint32_t index)
{
    static const char name[] = "set-cookie";
    blitz_text cookie = cluster->endpoints[index]->set_cookie;
    if (cookie.len == 0 || blitz_cluster_sticks(cluster, exchange, index))
        return 0;
    return blitz_head_add(exchange->response, (const uint8_t *)name, sizeof name - 1, cookie.ptr, cookie.len);
}

/* ---------------------------------------------------------------- endpoints that fail */

/* How many of the cluster may be left out at once; one may in any case. */
static uint32_t most_ejected(const blitz_cluster *cluster)
{
    double most = floor(cluster->max_ejected * cluster->n + 1e-9);
    return most < 1 ? 1 : (uint32_t)most;
}

int blitz_endpoint_failed(blitz_endpoint *endpoint, double now)
{
    const blitz_cluster *cluster = endpoint->cluster;
    if (now < endpoint->fails_until || cluster == NULL)
        return 0;
    if (endpoint->fails == 0 || now - endpoint->fails_since >= cluster->fail_duration) {
        endpoint->fails = 0;
        endpoint->fails_since = now;
    }
    if (++endpoint->fails < cluster->max_fails)
        return 0;
    uint32_t ejected = 0;
    for (uint32_t i = 0; i < cluster->n; i++)
        ejected += now < cluster->endpoints[i]->fails_until;
    if (ejected >= most_ejected(cluster))
        return 0;
    endpoint->fails = 0;
    endpoint->ejections++;
    endpoint->fails_until = now + cluster->fail_duration;
    return 1;
}

int blitz_has_status(const uint8_t *set, uint32_t status)
{
    return set != NULL && status < 600 && (set[status / 8] >> (status % 8) & 1);
}

/* ---------------------------------------------------------------- several upstreams of one route, and copies */

uint32_t blitz_split_choose(const blitz_split *split)
{
    uint32_t best = 0;
    for (uint32_t i = 1; i < split->n; i++)
        if (split->accounts[i] + split->weights[i] > split->accounts[best] + split->weights[best])
            best = i;
    return best;
}

void blitz_split_take(blitz_split *split, uint32_t index)
{
    double sum = 0;
    for (uint32_t i = 0; i < split->n; i++) {
        split->accounts[i] += split->weights[i];
        sum += split->weights[i];
    }
    split->accounts[index] -= sum;
}

int blitz_mirror_is_due(const blitz_mirror *mirror) { return mirror->account + mirror->percent >= 100; }

int blitz_mirror_take(blitz_mirror *mirror)
{
    int due = blitz_mirror_is_due(mirror);
    mirror->account += mirror->percent - (due ? 100 : 0);
    return due;
}
