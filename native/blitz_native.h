/* blitz_native.h: the contract between Blitz's Python and its C.
 *
 * Everything Python may call is declared between the two CDEF marks; build.py hands that text to
 * cffi word for word, so it must stay plain C declarations (no macros, no includes, no inline code).
 *
 * Rules for every function here
 *   result    0 or a count >= 0 on success, a negative BLITZ_E_* on failure, unless said otherwise;
 *             outputs through pointers are written only on success.
 *   pointers  "borrowed": the caller keeps it alive for the call, or until the moment named.
 *             "owned": the caller frees it with the function named.
 *   strings   always (pointer, length), never NUL-terminated, unless said otherwise.
 *   threads   one engine and all that hangs on it belong to one thread at a time; functions are not
 *             re-entrant. The tick thread touches only atomics and the engine's epoch.
 *   Python    nothing here calls into Python.
 */
#ifndef BLITZ_NATIVE_H
#define BLITZ_NATIVE_H
#include <stddef.h>
#include <stdint.h>

/* CDEF-BEGIN */

/* ---------------------------------------------------------------- result codes */
enum {
    BLITZ_E_DECLINED = -1,   /* scanner: not in the strict subset; ask h11 with the same bytes */
    BLITZ_E_NOMEM = -2,      /* the host is out of memory */
    BLITZ_E_SPACE = -3,      /* the output buffer is too small */
    BLITZ_E_LIMIT = -4,      /* a size or count limit was passed */
    BLITZ_E_SYNTAX = -5,     /* the bytes are not well-formed */
    BLITZ_E_ENGINE = -6,     /* wasmtime refused; the message is in the error buffer */
    BLITZ_E_STATE = -7       /* not allowed now: a broken invariant of the caller */
};

/* ---------------------------------------------------------------- heads
 * A head is the bytes it arrived in (base) plus a table of spans. What was added since lives in the
 * head's own arena; a span says which of the two it points into by its top bit. The table is always
 * the present truth: an edit that was committed has changed it. */
enum { BLITZ_MAX_FIELDS = 256, BLITZ_ARENA = 0x80000000 };
enum { BLITZ_REQUEST = 0, BLITZ_RESPONSE = 1 };
enum {                        /* how the body of this message ends (RFC 9112 section 6.3) */
    BLITZ_BODY_NONE = 0, BLITZ_BODY_LENGTH = 1, BLITZ_BODY_CHUNKED = 2, BLITZ_BODY_CLOSE = 3
};
enum {                        /* blitz_head.flags, computed by blitz_head_check() */
    BLITZ_HEAD_KEEP_ALIVE = 1,       /* the sender allows another message on this connection */
    BLITZ_HEAD_EXPECT_CONTINUE = 2,  /* request: Expect: 100-continue */
    BLITZ_HEAD_UPGRADE = 4,          /* Connection: upgrade and an Upgrade field are both there */
    BLITZ_HEAD_NAMED_OPTIONS = 8,    /* Connection names fields beyond close, keep-alive, upgrade, te */
    BLITZ_HEAD_HAS_BODY_EDIT = 16    /* a plugin replaced the body (set_body) */
};
enum {                        /* blitz_field.id: the fields that rules care about; 0 = any other */
    BLITZ_F_OTHER = 0, BLITZ_F_HOST, BLITZ_F_CONNECTION, BLITZ_F_CONTENT_LENGTH,
    BLITZ_F_TRANSFER_ENCODING, BLITZ_F_EXPECT, BLITZ_F_UPGRADE, BLITZ_F_TE, BLITZ_F_TRAILER,
    BLITZ_F_KEEP_ALIVE, BLITZ_F_PROXY_CONNECTION, BLITZ_F_PROXY_AUTHENTICATE,
    BLITZ_F_PROXY_AUTHORIZATION, BLITZ_F_VIA, BLITZ_F_MAX_FORWARDS, BLITZ_F_DATE, BLITZ_F_SERVER,
    BLITZ_F_X_FORWARDED_FOR, BLITZ_F_X_FORWARDED_PROTO, BLITZ_F_X_FORWARDED_HOST, BLITZ_F_FORWARDED,
    BLITZ_F_X_REQUEST_ID, BLITZ_F_ETAG, BLITZ_F_DIGEST, BLITZ_F_CONTENT_ENCODING,
    BLITZ_F_CONTENT_TYPE, BLITZ_F_HTTP2_SETTINGS, BLITZ_F_AUTHORIZATION, BLITZ_F_RANGE,
    BLITZ_F_IF_RANGE, BLITZ_F_IF_MODIFIED_SINCE, BLITZ_F_IF_UNMODIFIED_SINCE, BLITZ_F_CONTENT_RANGE,
    BLITZ_F_COUNT
};

typedef struct { uint32_t off, len; } blitz_span;          /* off: top bit set = in the arena */
typedef struct {
    blitz_span name, value;
    uint8_t id;
    uint8_t gone;             /* removed: no longer part of the head */
    uint8_t plain;            /* in base the line is exactly: name, ": ", value, CRLF */
} blitz_field;

typedef struct {
    const uint8_t *base;      /* borrowed until the head is reset; NULL when all is in the arena */
    uint32_t base_len;        /* bytes of the head in base, the empty line included */
    uint8_t kind;             /* BLITZ_REQUEST or BLITZ_RESPONSE */
    uint8_t minor;            /* HTTP/1.minor */
    uint8_t body;             /* BLITZ_BODY_* */
    uint8_t flags;            /* BLITZ_HEAD_* */
    uint32_t status;          /* response: 100..999 */
    uint32_t n_fields;
    int64_t content_length;   /* when body is BLITZ_BODY_LENGTH; else -1 */
    blitz_span method, target, reason;
    blitz_span host;          /* authority that routing uses: the Host field's value */
    uint8_t *arena;           /* owned */
    uint32_t arena_len, arena_cap;
    uint32_t edits;           /* edits committed so far (statistics) */
    uint8_t ruled;            /* the route's own edits have been made */
    blitz_field fields[256];
} blitz_head;

typedef struct {              /* bounds for one head; 0 = the largest the table can hold */
    uint32_t max_head_size;   /* bytes, start line and empty line included */
    uint32_t max_line_size;   /* bytes of the start line */
    uint32_t max_field_size;  /* bytes of one field line */
    uint32_t max_fields;      /* <= BLITZ_MAX_FIELDS */
} blitz_head_limits;

/* New empty head; owned, free with blitz_head_free. NULL when out of memory. */
blitz_head *blitz_head_new(void);
void blitz_head_free(blitz_head *head);
/* Forget everything; an arena of up to 4 KiB is kept for the next message. */
void blitz_head_reset(blitz_head *head, int kind);

/* Builder, for heads that h11 or Python made: copies into the arena, keeps order and case, takes the
 * whitespace around a value (and a reason) away. What is passed may point into this head's arena, but
 * not to start_*, which reset the head first. minor: 0 or 1; any other for a version that is neither
 * (255 for another major), which blitz_head_check refuses.
 * BLITZ_E_SYNTAX: not a token / not field-content; BLITZ_E_LIMIT: table full. */
int blitz_head_start_request(blitz_head *head, const uint8_t *method, size_t method_len,
                             const uint8_t *target, size_t target_len, int minor);
/* reason NULL: the standard phrase of the status. */
int blitz_head_start_response(blitz_head *head, int status, const uint8_t *reason,
                              size_t reason_len, int minor);
int blitz_head_add(blitz_head *head, const uint8_t *name, size_t name_len,
                   const uint8_t *value, size_t value_len);
int blitz_head_set(blitz_head *head, const uint8_t *name, size_t name_len,
                   const uint8_t *value, size_t value_len);       /* replaces all of that name */
int blitz_head_remove(blitz_head *head, const uint8_t *name, size_t name_len);  /* -> how many */
/* Remove the fields of a request that a server may read as this name and that are spelt otherwise: "X.User",
 * "x_user" for "x-user"; see look_alike.c. -> how many; none of a response. */
int blitz_head_remove_spellings(blitz_head *head, const uint8_t *name, size_t name_len);
/* Fields of that name, in a request in any such spelling. */
uint32_t blitz_head_count(const blitz_head *head, const uint8_t *name, size_t name_len);
int blitz_head_set_target(blitz_head *head, const uint8_t *target, size_t len);
int blitz_head_set_method(blitz_head *head, const uint8_t *method, size_t len);
/* Index of the first live field of that name at or after start, or -1. Case-insensitive. */
int blitz_head_find(const blitz_head *head, const uint8_t *name, size_t name_len, uint32_t start);
/* Address of a span of this head: borrowed until the head is edited or reset. */
const uint8_t *blitz_head_at(const blitz_head *head, blitz_span span);

/* The rules for a complete table, whoever produced it: framing, Host, target, Connection, Expect,
 * Upgrade; head_rules.c lists them. Fills body, content_length, flags, host; an absolute-form target
 * becomes origin-form; fields that Connection names and ambiguous names ("x_user") leave the table.
 * Call it again after edits: what was added since stays. 0, or the negative of a BLITZ_BAD_* below, or
 * BLITZ_E_NOMEM or BLITZ_E_LIMIT.
 * request_method: for a response, the method it answers (HEAD, CONNECT matter); else NULL, 0. */
int blitz_head_check(blitz_head *head, const uint8_t *request_method, size_t method_len);
enum {                        /* why a head is refused; http/rules.py has status and sentence */
    BLITZ_BAD_FIRST = 100, BLITZ_BAD_FRAMING_BOTH = 100, BLITZ_BAD_CONTENT_LENGTH,
    BLITZ_BAD_TRANSFER_ENCODING, BLITZ_BAD_TE_IN_10, BLITZ_BAD_HOST_MISSING,
    BLITZ_BAD_HOST_SYNTAX, BLITZ_BAD_HOST_MANY, BLITZ_BAD_TARGET, BLITZ_BAD_TARGET_HOST,
    BLITZ_BAD_METHOD_CONNECT, BLITZ_BAD_EXPECT, BLITZ_BAD_CONNECTION, BLITZ_BAD_STATUS,
    BLITZ_BAD_SYNTAX, BLITZ_BAD_VERSION, BLITZ_BAD_H2C, BLITZ_BAD_UPGRADE,
    BLITZ_BAD_METHOD,         /* not made of A-Z, '-' and '_' */
    BLITZ_BAD_FIELD_NAME,     /* reads as a framing field with another punctuation: content_length */
    BLITZ_BAD_DUPLICATE,      /* request: two of a field that has one value (Authorization, Range ...) */
    BLITZ_BAD_BODY_METHOD,    /* content where it is not allowed: TRACE; GET, HEAD, DELETE in HTTP/1.0 */
    BLITZ_BAD_CONNECTION_MANY, /* names more than 10 fields */
    /* of blitz_head_refusal: */
    BLITZ_BAD_LINE_SIZE, BLITZ_BAD_FIELD_SIZE, BLITZ_BAD_HEAD_SIZE, BLITZ_BAD_FIELD_COUNT,
    BLITZ_BAD_LINE_END,       /* a bare CR or LF */
    BLITZ_BAD_CONTROL, BLITZ_BAD_FOLD,
    BLITZ_BAD_TLS,            /* begins as a handshake or an alert does */
    BLITZ_BAD_FIRST_LINE,     /* empty, or begins with whitespace */
    BLITZ_BAD_LAST
};

/* Scan a head of the strict subset. buf is borrowed until the head is reset (the table points into
 * it). seen: how many of the bytes an earlier call already saw incomplete (0 at first).
 * -> bytes of the head (> 0, table filled and checked); 0 incomplete; BLITZ_E_DECLINED; BLITZ_E_LIMIT.
 * The table is empty unless the result is > 0. The result does not depend on how the bytes were cut
 * into calls. An empty line before a request (RFC 9112 section 2.2) is for the caller to skip. */
int64_t blitz_scan_request(blitz_head *head, const uint8_t *buf, size_t len, size_t seen,
                           const blitz_head_limits *limits);
int64_t blitz_scan_response(blitz_head *head, const uint8_t *buf, size_t len, size_t seen,
                            const blitz_head_limits *limits,
                            const uint8_t *request_method, size_t method_len);
/* Length of the head at the front of buf (through the empty line, CRLF only), 0 incomplete;
 * BLITZ_E_SYNTAX at a bare CR or LF, NUL or control byte, a line that begins with whitespace (obs-fold),
 * an empty first line, or a second Content-Length or one that is a list (h11 would fold them);
 * BLITZ_E_LIMIT. The gate before h11. */
int64_t blitz_head_extent(const uint8_t *buf, size_t len, size_t seen,
                          const blitz_head_limits *limits);
/* Why blitz_head_extent refuses these bytes: a BLITZ_BAD_*, or 0 when it does not. */
int blitz_head_refusal(const uint8_t *buf, size_t len, const blitz_head_limits *limits);
/* The scanner's path on this machine ("avx2", "sse2", "neon", "portable"), and the same calls by name
 * of the path, for tests; BLITZ_E_STATE when this machine lacks it. */
const char *blitz_scan_path(void);
int64_t blitz_scan_request_with(const char *path, blitz_head *head, const uint8_t *buf, size_t len,
                                size_t seen, const blitz_head_limits *limits);
int64_t blitz_scan_response_with(const char *path, blitz_head *head, const uint8_t *buf, size_t len,
                                 size_t seen, const blitz_head_limits *limits,
                                 const uint8_t *request_method, size_t method_len);
int64_t blitz_head_extent_with(const char *path, const uint8_t *buf, size_t len, size_t seen,
                               const blitz_head_limits *limits);

/* Writer: the head as it goes out, hop-by-hop fields removed, ours added, then the first part of
 * the body, in one buffer. */
typedef struct {
    uint8_t body;                    /* BLITZ_BODY_* of the outgoing message */
    uint8_t close;                   /* say Connection: close */
    uint8_t keep_alive_10;           /* say Connection: keep-alive (to a 1.0 client) */
    uint8_t upgrade;                 /* forward Connection: upgrade and the Upgrade field */
    uint8_t first_is_last;           /* first is the whole body: end the chunked coding too */
    uint8_t keep_length;             /* response to HEAD / 304: keep a Content-Length that says what
                                        would have been sent */
    uint8_t strip_expect;            /* we answered 100-continue ourselves */
    int64_t content_length;          /* for BLITZ_BODY_LENGTH */
    const uint8_t *host;  size_t host_len;           /* request: replace Host (NULL: keep) */
    const uint8_t *target; size_t target_len;        /* request: replace the target (NULL: keep) */
    const uint8_t *extra; size_t extra_len;          /* complete field lines, each ended by CRLF */
    const uint8_t *drop_ids; size_t n_drop_ids;      /* BLITZ_F_* to leave out besides the rules */
    const uint8_t *date; size_t date_len;            /* Date to add to a head that has none (NULL: none) */
} blitz_write_options;
/* -> bytes written, or BLITZ_E_SPACE; BLITZ_E_STATE: framing, first and head do not fit together (a
 * request cannot end by close, 204 has no body, first is longer than content_length ...); BLITZ_E_SYNTAX: host, target or extra is
 * not clean, or extra has a field that is written here. first may be NULL. A request always gets exactly
 * one Host, an empty one when nobody named any; body CLOSE implies Connection: close. */
int64_t blitz_head_write(const blitz_head *head, const blitz_write_options *options,
                         const uint8_t *first, size_t first_len, uint8_t *dst, size_t cap);
/* Upper bound of what blitz_head_write needs without the first part. */
size_t blitz_head_write_bound(const blitz_head *head, const blitz_write_options *options);

/* How a response goes to the client that sent request, into options; see framing.c. stays: the request has been
 * read whole, and there is no drain.
 * Of one that is passed on, with the framing that it has. -> 1: its body follows, 0: nothing of it is sent. */
int blitz_frame_response(blitz_write_options *options, const blitz_head *request, const blitz_head *response,
                         int stays);
/* Of a local one with a body of size bytes. -> bytes of it that go out. */
size_t blitz_frame_local_response(blitz_write_options *options, const blitz_head *request, const blitz_head *response,
                                  size_t size, int stays);

/* Chunked coding, decoded in place (RFC 9112 section 7.1), strict: CRLF only, sizes of at most 15
 * hex digits, extensions and trailers well-formed, bounded and dropped. Zero it, set the bounds, go. */
typedef struct {
    uint64_t remaining;       /* bytes left of the present chunk */
    uint32_t meta_size;       /* bytes of the present size line or of the trailers so far */
    uint32_t max_line;        /* bound for one size line with its extension; 0 = 4096 */
    uint32_t max_trailers;    /* bound for the trailer section; 0 = 16384 */
    uint32_t excess;          /* what size lines cost beyond the data they brought; at most 4 max_line */
    uint8_t state;            /* 0 at start; 255 done */
    uint8_t digits;
} blitz_chunks;
/* Decode buf[0..len) in place: data bytes are moved to the front. *consumed: input bytes used (all,
 * unless the body ended). -> data bytes now at buf, or BLITZ_E_SYNTAX / BLITZ_E_LIMIT (the
 * state is then undefined: the body ends here).
 * After state 255 nothing is consumed. */
int64_t blitz_chunks_decode(blitz_chunks *chunks, uint8_t *buf, size_t len, size_t *consumed);

/* ---------------------------------------------------------------- bodies: see body_pipe.c
 * Where a body ends (RFC 9112 section 6.3): bytes from the wire in, data bytes out. */
typedef struct {
    uint8_t kind;             /* BLITZ_BODY_*: how it comes in */
    uint8_t done;             /* it is complete */
    int64_t remaining;        /* data bytes still to come; -1: the sender did not say how many */
    uint64_t received;        /* data bytes so far */
    int64_t limit;            /* data bytes it may have; 0: any */
    blitz_chunks chunks;
} blitz_body;
enum {
    BLITZ_BODY_CUT = -210,    /* the sender closed its side before the end */
    BLITZ_BODY_MALFORMED = -211, BLITZ_BODY_CODING_LIMIT = -212,   /* of chunked coding */
    BLITZ_BODY_TOO_LONG = -213   /* over limit */
};
/* length: of BLITZ_BODY_LENGTH; max_line, max_trailers: as in blitz_chunks. */
void blitz_body_begin(blitz_body *body, int kind, int64_t length, int64_t limit, uint32_t max_line,
                      uint32_t max_trailers);
/* len bytes arrived in buf. -> data bytes, which are now at its front; *consumed of the bytes were used: fewer than
 * len only when the body is done. Or BLITZ_BODY_MALFORMED, _CODING_LIMIT, _TOO_LONG: the body ends here. */
int64_t blitz_body_feed(blitz_body *body, uint8_t *buf, size_t len, size_t *consumed);
/* size data bytes, at most remaining, of a body of known length went another way. */
void blitz_body_pass_by(blitz_body *body, int64_t size);
/* The sender closed its side: 0, or BLITZ_BODY_CUT. */
int blitz_body_end(blitz_body *body);
/* How a response's body that comes in as kind goes out to a client of HTTP/1.minor: BLITZ_BODY_*. */
int blitz_body_framing(int kind, int minor);

/* Put chunked coding around data: *before bytes in front of it and up to 7 behind it. last: end the body, too.
 * -> bytes of it all. Needs BLITZ_PART_HEADROOM and BLITZ_PART_TAILROOM around data. */
enum { BLITZ_PART_HEADROOM = 32, BLITZ_PART_TAILROOM = 32 };
size_t blitz_chunk_frame(uint8_t *data, size_t len, int last, size_t *before);

/* What the sender of a body owes: owed data bytes a second, after grace seconds that it was waited for. Time in
 * which nobody would take its bytes does not count. Seconds. */
typedef struct { double owed, grace, waited, since; uint8_t waits; } blitz_rate;
/* A wait begins, or goes on when no data came meanwhile. -> seconds that it may last; 0 or less: it is too slow. */
double blitz_rate_begin(blitz_rate *rate, double now, uint64_t received);
void blitz_rate_end(blitz_rate *rate, double now);   /* data has come */
/* The receiver has acknowledged some, by what the kernel had unsent before and has now; -1: it cannot tell. A
 * socket turns writable only when a third of its buffer is free, so a slow receiver is told by this. */
int blitz_took_some(int64_t unsent_before, int64_t unsent_now);

/* UTF-8 (the fast path of this machine; blitz_utf8_path() names it: "avx2", "sse2", "neon", "portable"). */
const char *blitz_utf8_path(void);
/* Copy src to dst, stop before the first invalid sequence. -> bytes copied (== len: all valid).
 * Nothing outside src[0..len) is read, nothing outside dst[0..len) written; dst past the result may
 * hold anything. The two must not overlap. */
size_t blitz_utf8_copy(uint8_t *dst, const uint8_t *src, size_t len);
/* The same, by name of the path; for tests. BLITZ_E_STATE when this machine lacks it. */
int64_t blitz_utf8_copy_with(const char *path, uint8_t *dst, const uint8_t *src, size_t len);
/* Copy with U+FFFD for each maximal ill-formed subpart (as Rust and Python do). dst NULL: only count.
 * -> bytes needed (at most 3 * len); whole sequences are written as far as they fit into cap. */
size_t blitz_utf8_lossy(uint8_t *dst, size_t cap, const uint8_t *src, size_t len);

/* UTF-8 as it stands between the quotes of a JSON string (RFC 8259 section 7), in ASCII; each byte that is ill-formed as U+FFFD.
 * -> bytes written, at most six times len; or BLITZ_E_SPACE. */
int64_t blitz_text_json(uint8_t *dst, size_t cap, const uint8_t *src, size_t len);

/* Text of others as it may stand in a line of a log or on a terminal: src copied to dst, what
 * native/text_tables.py does not show escaped (\n, \r, \t, \x1b, \u202e, \U000e0041), ill-formed UTF-8 as
 * U+FFFD. No byte becomes more than four. Stops before what does not fit whole. -> bytes written;
 * *used: bytes of src consumed. */
size_t blitz_text_escape(uint8_t *dst, size_t cap, const uint8_t *src, size_t len, size_t *used);

/* ---------------------------------------------------------------- paths: see path.c
 * Prefixes, and which of them a path leads to in every way that servers read it. A table holds trees, one for
 * each set of prefixes; all of it belongs to one thread. */
typedef struct blitz_path_table blitz_path_table;
enum {                        /* instead of a value */
    BLITZ_PATH_NONE = -1,     /* no prefix matches */
    BLITZ_PATH_AMBIGUOUS = -2,   /* readings lead to different protections */
    BLITZ_PATH_CLIMBS = -3,   /* above the root */
    BLITZ_PATH_TOO_LONG = -4  /* more than 256 segments, and there is doubt; or longer than the table's longest */
};
/* longest: bytes of a path. NULL when out of memory. */
blitz_path_table *blitz_path_table_new(size_t longest);
void blitz_path_table_free(blitz_path_table *table);
/* -> the number of a new tree, or BLITZ_E_NOMEM. */
int64_t blitz_path_table_tree(blitz_path_table *table);
/* prefix: canonical. value: >= 0, few and small; protection: equal for values that are protected alike. exact: the
 * value of the path alone, and not of those below it. Before the table is sealed. 0, BLITZ_E_NOMEM or BLITZ_E_LIMIT. */
int blitz_path_table_add(blitz_path_table *table, uint32_t tree, const uint8_t *prefix, size_t len, int32_t value,
                         int32_t protection, int exact);
void blitz_path_table_seal(blitz_path_table *table);
/* target: origin-form, its query does not count; or "*". -> the value, or BLITZ_PATH_*. */
int32_t blitz_path_find(const blitz_path_table *table, uint32_t tree, const uint8_t *target, size_t len);
/* All values that the target may lead to (BLITZ_PATH_NONE is one), whatever their protection; that of the longest path
 * first. -> how many are in values, or BLITZ_PATH_*, not NONE. */
enum { BLITZ_PATH_MOST = 64 };
int32_t blitz_path_all(const blitz_path_table *table, uint32_t tree, const uint8_t *target, size_t len,
                       int32_t *values);
/* Does the target lead to what is protected as value is? 0 or 1. */
int blitz_path_stays(const blitz_path_table *table, uint32_t tree, int32_t value, const uint8_t *target, size_t len);
/* The path that a guard may compare: decoded once, encoded slashes and backslashes as slashes, without parameters,
 * slashes merged, dot segments resolved. dst has room for len, and may be path. -> bytes of it. */
size_t blitz_path_canonical(uint8_t *dst, const uint8_t *path, size_t len);

/* ---------------------------------------------------------------- exchanges
 * What a guest can see and change while one of its hooks runs. Python fills the visible fields;
 * all pointers in it are borrowed until blitz_exchange_reset. */
typedef struct { const uint8_t *ptr; size_t len; } blitz_text;
typedef struct {              /* one per connection */
    blitz_text address;       /* "192.0.2.1" */
    blitz_text port;
    blitz_text tls_version, tls_cipher, tls_sni, tls_client_subject, tls_client_sha256;
    blitz_text client_scheme; /* that the client used, as far as we know */
} blitz_peer;

typedef struct blitz_instance blitz_instance;

/* ---------------------------------------------------------------- measures: see measures.c, blitz/measures/
 * A figure is declared in Python; here it is a number. A series is a figure with its labels, in the text that is
 * exposed: NAME="VALUE",.. */
typedef struct blitz_measures blitz_measures;   /* what one worker counts */
enum {
    BLITZ_MEASURE_COUNT = 0,  /* one cell: a number that only grows */
    BLITZ_MEASURE_GAUGE,      /* one cell: a double; not a number: nobody tells it */
    BLITZ_MEASURE_SECONDS,    /* a histogram of durations: cells that are its own business */
    BLITZ_MEASURE_VALUES      /* of anything else */
};
size_t blitz_measures_slot_size(void);
/* slot: memory of that size, zero at first, that nobody else writes now; what was counted there is counted on, gauges
 * are forgotten. Borrowed. Owned: blitz_measures_close. NULL when out of memory. */
blitz_measures *blitz_measures_open(uint8_t *slot);
void blitz_measures_close(blitz_measures *measures);
/* The cells of a series, entered with its first use; valid as long as the slot. Where there is no room for it: cells that
 * nobody reads. */
uint64_t *blitz_measures_series(blitz_measures *measures, uint32_t figure, int kind, const uint8_t *labels, size_t len);
void blitz_measures_add(uint64_t *cell, uint64_t n);          /* COUNT */
void blitz_measures_set(uint64_t *cell, double value);        /* GAUGE */
void blitz_measures_observe(uint64_t *cells, int kind, double value);
/* The writer of the slot is gone. */
void blitz_measures_forget_gauges(uint8_t *slot);
/* All slots as one. how: of each figure, what becomes of a gauge that several tell. Borrows the slots. Owned:
 * blitz_merged_free. NULL when out of memory. */
typedef struct blitz_merged blitz_merged;
enum { BLITZ_MERGE_SUM = 0, BLITZ_MERGE_MAX, BLITZ_MERGE_MIN };
blitz_merged *blitz_measures_merge(const uint8_t *memory, uint32_t slots, const uint8_t *how, uint32_t n_figures);
void blitz_merged_free(blitz_merged *merged);
uint64_t blitz_merged_refused(const blitz_merged *merged);    /* series that found no room */
/* A count, a gauge, how many values a histogram has; not a number: there is none. */
double blitz_merged_value(const blitz_merged *merged, uint32_t figure, const uint8_t *labels, size_t len);
typedef struct {
    blitz_text header;        /* what stands above its samples */
    blitz_text name;          /* of a sample */
    const blitz_text *bounds; /* of the buckets of a histogram, as many as it has; else NULL */
} blitz_figure;
/* -> bytes of the text at *out (owned: blitz_bytes_free), figures in their order; or BLITZ_E_NOMEM. */
int64_t blitz_merged_text(const blitz_merged *merged, const blitz_figure *figures, uint32_t n_figures, uint8_t **out);

/* Of the exchanges of one route. */
typedef struct { uint32_t requests, total, gateway, plugins, upstream, received, sent; } blitz_route_figures;
typedef struct blitz_route_measures blitz_route_measures;
/* labels: route="NAME". Owned: blitz_route_measures_free. NULL when out of memory. */
blitz_route_measures *blitz_route_measures_new(blitz_measures *measures, const blitz_route_figures *figures,
                                               const uint8_t *labels, size_t len);
void blitz_route_measures_free(blitz_route_measures *route);
typedef struct {              /* an exchange that is over */
    blitz_text method;        /* as the client sent it */
    uint32_t status;          /* 499: the client has gone */
    uint64_t total_ns, plugins_ns, upstream_ns;   /* 0: there was none */
    uint64_t received, sent;  /* bytes of the bodies */
} blitz_measured;
void blitz_route_measure(blitz_route_measures *route, const blitz_measured *measured);
/* Of what a plugin counts itself (host_measures.c). */
typedef struct { uint32_t count, gauge, observed, refused; } blitz_plugin_figures;
typedef struct blitz_plugin_measures blitz_plugin_measures;
/* labels: plugin="NAME". Owned: blitz_plugin_measures_free. NULL when out of memory. */
blitz_plugin_measures *blitz_plugin_measures_new(blitz_measures *measures, const blitz_plugin_figures *figures,
                                                 const uint8_t *labels, size_t len);
void blitz_plugin_measures_free(blitz_plugin_measures *plugin);
/* Of one hook of a plugin; cells NULL: nobody counts. cut: calls that were ended. */
typedef struct { uint64_t *passed, *stopped, *failed, *faulted, *cut, *seconds; } blitz_hook_measures;

/* ---------------------------------------------------------------- plugins on streams: see parts.c
 * What a plugin sees besides heads and collected bodies, or a message has. */
enum { BLITZ_PARTS_REQUEST = 1, BLITZ_PARTS_RESPONSE = 2, BLITZ_PARTS_END = 8 };

/* ---------------------------------------------------------------- the instances of a plugin that nobody uses */
typedef struct {              /* first what Python sets */
    blitz_text name;          /* of the plugin */
    blitz_hook_measures measured[2];  /* of its request hook, of its response hook */
    uint32_t most, max_calls; /* an instance with so many calls behind it is replaced */
    uint8_t has_request, reads_body;               /* the plugin's hook, and whether it wants the message's body */
    uint8_t has_response, needs_response_body;
    uint8_t writes_body;      /* it may replace a body */
    uint64_t max_body;        /* bytes of one that it may see */
    uint8_t parts, changes;   /* BLITZ_PARTS_*: what it sees; what of that it may change */
    uint8_t fresh;            /* an instance serves one exchange only */
    uint8_t suspended;        /* in quarantine, or was: Python is asked before a call */
    uint8_t closed;           /* no further exchanges */
    uint32_t waiting;         /* tasks that wait for an instance */
    uint32_t n, n_worn;
    uint64_t calls;           /* hooks that came to an end */
    blitz_instance **idle;    /* the last used one is at the end: its memory is warm */
    blitz_instance **worn;    /* healthy, and not to be used again: Python ends them */
} blitz_pool;
blitz_pool *blitz_pool_new(uint32_t most);
void blitz_pool_free(blitz_pool *pool);
/* Take back a healthy instance. 1: Python has to see to the pool (something is worn, or somebody waits), else 0. */
int blitz_pool_give(blitz_pool *pool, blitz_instance *instance);
/* The id of the last used one, or of a worn one; 0: there is none. */
uint32_t blitz_pool_take(blitz_pool *pool);
uint32_t blitz_pool_take_worn(blitz_pool *pool);

/* ---------------------------------------------------------------- finished lines of plugins: see log_lines.c */
typedef struct blitz_log_lines blitz_log_lines;
enum { BLITZ_LOG_TIME = 1, BLITZ_LOG_TEXT, BLITZ_LOG_ID };   /* RFC 3339; what the plugin said; the request's id */
/* size: bytes that may wait to be taken. Owned: blitz_log_lines_free. NULL when out of memory. */
blitz_log_lines *blitz_log_lines_new(size_t size);
void blitz_log_lines_free(blitz_log_lines *lines);
/* Whole lines, all that wait. Borrowed until the next hook that has lines as its chain's runs. */
blitz_text blitz_log_lines_take(blitz_log_lines *lines);

/* ---------------------------------------------------------------- plugins run over one exchange: see chain.c */
typedef struct {
    blitz_pool **pools;       /* borrowed */
    uint32_t n_pools;
    int32_t index;            /* of the plugin in hand */
    uint8_t is_response;      /* response hooks are run */
    uint8_t body_ready;       /* the body of the message in hand is in the exchange, or it has none */
    uint8_t body_seen;        /* a request hook had the body */
    uint8_t starting;         /* the pending call starts the instance */
    uint8_t told;             /* Python has to see to the pools */
    uint8_t watched;          /* it wants to see every call that came to an end */
    blitz_log_lines *lines;   /* take what hooks say, as far as they can; NULL: Python does */
    uint64_t called_ns;       /* the call in hand began (monotonic clock); 0: nobody wants to know */
    uint64_t hooks_ns, hooked_ns;   /* what all calls took together; the last one ended */
    int32_t rc;               /* what the last call returned */
    blitz_instance *at;       /* the instance in hand: its call is pending, or came to an end as rc says */
    blitz_instance **held;    /* by index: those that have seen the request and wait for the response; owned */
    uint8_t *passes;          /* by index, BLITZ_PARTS_*: parts that shall go through the instance that is held. Whoever sees
                               * to that clears it; owned */
    uint32_t n_held;          /* room in held and passes */
    uint8_t kind, has_parts;  /* of the message in hand: BLITZ_PARTS_* that it can have, and whether it has a body */
} blitz_chain;
enum {                        /* steps of a chain */
    BLITZ_CHAIN_CONTINUE = 0, /* every hook let the message pass */
    BLITZ_CHAIN_ANSWER,       /* a request hook answered: response and new_body are the answer */
    BLITZ_CHAIN_PENDING,      /* blitz_chain_resume, after others had their turn */
    BLITZ_CHAIN_NEED_BODY,    /* put it into the exchange, set body_ready, go on */
    BLITZ_CHAIN_NEED_INSTANCE,   /* no instance is idle: start one and put it into at, then go on */
    BLITZ_CHAIN_SUSPENDED,    /* the pool is; clear that and go on, or skip the plugin */
    BLITZ_CHAIN_STARTED,      /* the start of at came to its end, with a fault or with log lines: rc */
    BLITZ_CHAIN_RETURNED      /* the hook did: with a fault, a verdict that is an error, or log lines, or watched: rc */
};

/* By plugins that may lead to another route, or by one that may not. */
enum { BLITZ_MOVED_WITH_LEAVE = 1, BLITZ_MOVED_WITHOUT = 2 };
typedef struct {              /* what routes are chosen by, besides path and host */
    uint8_t method, query;
    const blitz_text *fields; /* names, lower case */
    size_t n_fields;
} blitz_chosen_by;
typedef struct blitz_edits blitz_edits;   /* opaque: the edits of the call in progress */
typedef struct { blitz_text name, value; } blitz_fact;   /* UTF-8 */
typedef struct {
    blitz_head *request;      /* owned by the exchange */
    blitz_head *response;     /* owned: the upstream's head, or the answer that a plugin built */
    const blitz_peer *peer;   /* may be NULL */
    blitz_text route, upstream, request_id;   /* request_id: 32 hex digits, made on demand in id[] */
    blitz_text body;          /* body of the message in hand, for get_body; ptr NULL: none */
    uint8_t body_truncated;
    uint8_t body_edited;      /* set_body was committed: new_body holds it */
    blitz_text new_body;      /* owned by the exchange */
    blitz_edits *edits;       /* owned */
    uint8_t id[32];
    uint8_t moved;            /* BLITZ_MOVED_*: plugins changed what routes are chosen by since this was 0 */
    const blitz_chosen_by *chosen_by;   /* what that is besides path and host; NULL: nothing */
    blitz_text mover;         /* the last plugin that did so and may not; else the last that did so */
    uint8_t hop_taken;        /* Max-Forwards has been counted down */
    blitz_text matched;       /* what the route's pattern makes of the path; borrowed for blitz_rules_request; ptr NULL: it is not in it */
    const blitz_fact *facts;  /* what filters found out about the client, for get_property: "identity", "jwt.sub" */
    uint32_t n_facts;
    blitz_span canonical, canonical_of;   /* of the request: made on demand; the target it was made of */
    blitz_chain chain;        /* its way through the plugins; nothing is held when the exchange is reset */
    uint64_t asked_ns;        /* an upstream was tried and has not answered in full (monotonic clock); 0: none is asked */
    uint64_t hooks_before_ns; /* chain.hooks_ns then */
    uint64_t upstream_ns;     /* what upstreams took so far, without the hooks that ran meanwhile */
} blitz_exchange;
blitz_exchange *blitz_exchange_new(void);
void blitz_exchange_free(blitz_exchange *exchange);
void blitz_exchange_reset(blitz_exchange *exchange);
/* How much of the body of the message in hand the plugins see that take it (*most). -> 1: one of them may change it, so
 * that a part is of no use. See whole_body.c. */
int blitz_chain_wanted_body(const blitz_exchange *exchange, uint64_t *most);
/* Is a body of this Content-Type sent record by record, with no end to wait for? Case and parameters do not matter (RFC
 * 9110 section 8.3.1). Of a head: does any of its Content-Types say so? */
int blitz_is_stream_type(const uint8_t *value, size_t len);
int blitz_is_stream(const blitz_head *head);
/* A plugin may change the body of this response: it has to be the whole, and says nothing of parts. 0; BLITZ_E_STATE: it is
 * a part (206); or BLITZ_E_NOMEM. */
int blitz_begin_whole_response(blitz_head *response);
/* Put a response of our own into response and new_body. kind: its Content-Type, empty for none; body is copied. 0,
 * BLITZ_E_NOMEM or what blitz_head_add returns. */
int blitz_local_response(blitz_exchange *exchange, int status, const uint8_t *kind, size_t kind_len,
                         const uint8_t *body, size_t len);
/* Count down Max-Forwards, once, where method (as the client sent it) has that. 1: the request may go on; 0: it has come
 * as far as it may; BLITZ_E_SYNTAX: that is no number of at most nine digits; or what blitz_head_set returns. */
int blitz_take_hop(blitz_exchange *exchange, blitz_text method);
/* Make (once) and return the request id: 32 lower-case hex digits, unique, in exchange->id. */
const uint8_t *blitz_exchange_id(blitz_exchange *exchange);
/* An upstream is tried, unless one is asked already; it has answered in full, or will not. */
void blitz_exchange_ask(blitz_exchange *exchange);
void blitz_exchange_answered(blitz_exchange *exchange);
/* Tell plugins and the upstream the request's id in this field; what a client sent in it, however spelt, is not
 * believed. 0, or what blitz_head_set returns. */
int blitz_exchange_tell_id(blitz_exchange *exchange, const uint8_t *field, size_t len);
/* The canonical path (blitz_path_canonical) of the request as it stands, made once per target; borrowed until
 * the request is edited. ptr NULL: out of memory. */
blitz_text blitz_exchange_path(blitz_exchange *exchange);
/* The value of one of its facts; ptr NULL: there is none of that name. */
blitz_text blitz_exchange_fact(const blitz_exchange *exchange, blitz_text name);

/* ---------------------------------------------------------------- addresses and networks: networks.c */
typedef struct { uint8_t bytes[16]; uint8_t is_v4; } blitz_ip;   /* IPv4 as IPv6 maps it (RFC 4291 section 2.5.5.2) */
typedef struct { blitz_ip first; uint8_t bits; } blitz_network;  /* bits of the 128: an IPv4 network's and 96 */
/* An address in text, without port; its zone is left out. 0: it is none. */
int blitz_ip_read(blitz_ip *ip, const uint8_t *text, size_t len);
/* 1: one of them has it. No network of IPv6 has an address of IPv4, however that is spelt. */
int blitz_ip_is_in(const blitz_ip *ip, const blitz_network *networks, uint32_t n);

/* ---------------------------------------------------------------- what a route does besides its plugins: route_rules.c */
enum {                        /* what a part of a text is */
    BLITZ_VALUE_TEXT = 0,     /* itself */
    BLITZ_VALUE_CLIENT_ADDRESS, BLITZ_VALUE_CLIENT_PORT, BLITZ_VALUE_CLIENT_SCHEME, BLITZ_VALUE_REQUEST_ID,
    BLITZ_VALUE_REQUEST_METHOD, BLITZ_VALUE_REQUEST_HOST, BLITZ_VALUE_REQUEST_TARGET, BLITZ_VALUE_PATH,
    BLITZ_VALUE_PATH_MATCHED, /* exchange->matched */
    BLITZ_VALUE_PATH_REST,    /* what stands behind the route's prefix; it begins with "/", or is empty */
    BLITZ_VALUE_QUERY,        /* with its "?" */
    BLITZ_VALUE_ROUTE_NAME, BLITZ_VALUE_UPSTREAM_ADDRESS, BLITZ_VALUE_RESPONSE_STATUS, BLITZ_VALUE_TLS_VERSION,
    BLITZ_VALUE_TLS_CIPHER, BLITZ_VALUE_TLS_SNI, BLITZ_VALUE_TLS_SUBJECT, BLITZ_VALUE_TLS_SHA256,
    BLITZ_VALUE_FACT          /* that a filter found out about the client: text is its name */
};
typedef struct { uint8_t what; blitz_text text; } blitz_rule_part;
typedef struct { const blitz_rule_part *parts; uint32_t n; } blitz_rule_text;
enum { BLITZ_RULE_REMOVE, BLITZ_RULE_SET, BLITZ_RULE_ADD };
typedef struct { uint8_t op; blitz_text name; blitz_rule_text value; } blitz_rule_edit;
typedef struct {              /* borrowed for as long as the route lives */
    const blitz_network *allow, *deny;
    uint32_t n_allow, n_deny;
    uint16_t redirect;        /* its status; 0: none */
    uint8_t only_redirects;   /* there is nothing else that the route could do */
    blitz_text scheme, host;  /* of the redirect; len 0: the request's */
    int32_t port;             /* of the redirect; 0: the scheme's own, or the request's if scheme and host are its */
    blitz_rule_text path;     /* of the redirect; n 0: the request's */
    uint8_t rewrites;         /* new_path is what upstreams get */
    blitz_rule_text new_path;
    blitz_text prefix;        /* the route's, without "/" at its end */
    const blitz_path_table *bounds;   /* one tree with nothing in it: which paths climb above the root */
    const blitz_rule_edit *request, *response, *answer;
    uint32_t n_request, n_response, n_answer;
} blitz_route_rules;
enum { BLITZ_RULES_PASS = 0, BLITZ_RULES_ANSWERED = 1 };
/* Who may come, and the redirect. -> ANSWERED: a response of our own is in the exchange; PASS; or BLITZ_E_NOMEM. */
int blitz_rules_admit(const blitz_route_rules *rules, blitz_exchange *exchange);     /* addresses alone */
int blitz_rules_redirect(const blitz_route_rules *rules, blitz_exchange *exchange);  /* the rest of it */
int blitz_rules_enter(const blitz_route_rules *rules, blitz_exchange *exchange);
/* The request as the upstream gets it, once. -> PASS; ANSWERED: its path cannot be rewritten, and the response says
 * so; or BLITZ_E_*: it has no room. */
int blitz_rules_request(const blitz_route_rules *rules, blitz_exchange *exchange);
/* Fields of the route's own answer, which is in the exchange. 0, or BLITZ_E_*. */
int blitz_rules_answer(const blitz_route_rules *rules, blitz_exchange *exchange);
/* The response as the client gets it, once. 0, or BLITZ_E_*. */
int blitz_rules_response(const blitz_route_rules *rules, blitz_exchange *exchange);

/* ---------------------------------------------------------------- engine */
typedef struct blitz_engine blitz_engine;
typedef struct blitz_module blitz_module;
typedef struct blitz_plugin blitz_plugin;

typedef struct {
    uint32_t max_instances;          /* slots of the pooling allocator (address space, not memory) */
    uint64_t max_memory_size;        /* the largest linear memory any plugin may have */
    uint64_t reservation_size;       /* address space of a memory; 0: 4 GiB. Less than that costs a check at each access */
    uint64_t guard_size;             /* and of what must stay unmapped behind it; 0: 32 MiB */
    uint64_t keep_resident_size;     /* bytes of a slot kept mapped between uses; 65536 */
    uint32_t tick_us;                /* period of the epoch tick; 1000 */
} blitz_engine_options;
typedef struct { uint64_t address_space, data; } blitz_slot_size;
/* Bytes that one slot takes of RLIMIT_AS, and of RLIMIT_DATA apart from its memory. */
blitz_slot_size blitz_engine_slot_size(const blitz_engine_options *options);
/* library: absolute path of wasmtime's shared library, NUL-terminated. Owned: blitz_engine_free,
 * after everything made from it. error gets one NUL-terminated sentence on failure (cap bytes). */
blitz_engine *blitz_engine_new(const char *library, const blitz_engine_options *options,
                               char *error, size_t error_cap);
void blitz_engine_free(blitz_engine *engine);
typedef struct { uint64_t ticks, calls, pended, instances_live, instances_made, memory_bytes; uint8_t parked; }
    blitz_engine_stats;
void blitz_engine_statistics(const blitz_engine *engine, blitz_engine_stats *out);

/* ---------------------------------------------------------------- modules: compiled code */
/* Compile (slow: never on the event loop's thread for big modules; this one function may run in another
 * thread). */
blitz_module *blitz_module_compile(blitz_engine *engine, const uint8_t *wasm, size_t len,
                                   char *error, size_t error_cap);
/* 1: a module that compiles uses what wasmtime keeps in a heap of its own, beside the linear memory: Wasm GC and
 * exceptions; or typed function references, which only those need. 0: none of it. Any thread, after an engine. */
int blitz_wasm_needs_gc(const uint8_t *wasm, size_t len);
/* Load the compiled form that blitz_module_serialize made. path NUL-terminated; the file is native
 * code: the caller vouches for who could write it. */
blitz_module *blitz_module_load(blitz_engine *engine, const char *path, char *error, size_t error_cap);
/* -> size of the compiled form, copied to *out (owned: blitz_bytes_free). */
int64_t blitz_module_serialize(blitz_module *module, uint8_t **out);
void blitz_bytes_free(uint8_t *bytes);
void blitz_module_free(blitz_module *module);
/* Types are spelt as parameters:results, a letter each: i I f F (i32 i64 f32 f64), v v128,
 * r funcref, x externref, ? other; "iiii:i". A memory is "m<min>,<max or ->" in pages ("m2,-"),
 * suffixed "s" when shared and "l" when 64-bit; a table "t<letter>", a global "g<letter>". */
typedef struct { blitz_text module, name; const char *type; } blitz_import;
typedef struct { blitz_text name; const char *type; } blitz_export;
uint32_t blitz_module_n_imports(const blitz_module *module);
uint32_t blitz_module_n_exports(const blitz_module *module);
blitz_import blitz_module_import(const blitz_module *module, uint32_t index);
blitz_export blitz_module_export(const blitz_module *module, uint32_t index);

/* ---------------------------------------------------------------- host functions (host_calls.def) */
uint32_t blitz_host_n(void);
/* name and NUL-terminated types; bindgen type is NULL where the plain one is the only one. modules: from which it is
 * imported, separated by spaces; NULL: from any that no other row names. */
typedef struct { const char *name, *plain_type, *bindgen_type, *group, *modules; } blitz_host_row;
blitz_host_row blitz_host_at(uint32_t index);
enum { BLITZ_BIND_PLAIN = 0, BLITZ_BIND_BINDGEN = 1, BLITZ_BIND_TRAP = 2, BLITZ_BIND_EXTERNREF_TABLE = 3 };

/* ---------------------------------------------------------------- plugins: a module bound to what it may do */
typedef struct {
    uint64_t max_memory_size;        /* bytes of linear memory per instance */
    uint32_t max_table_elements;
    uint32_t max_edits_size;         /* bytes of names, values and bodies one call may append */
    uint32_t max_edits;              /* edits one call may append */
    blitz_head_limits head;          /* of what one call writes into a head: as for a client's; 0: no limit */
    uint32_t max_part_size;          /* bytes that one call may give back for a part of a body */
    uint32_t max_log_size;           /* bytes of log text one call may leave */
    uint32_t max_log_lines;          /* of one call; 0: no limit */
    int log_level;                   /* lines below are dropped in C: 0 trace .. 4 error, 5 none */
    uint32_t log_lines_per_second, log_burst;   /* rate limit per plugin, in lines of up to 1 KiB; 0 = none */
} blitz_plugin_limits;
/* name: NUL-terminated, copied. Owned: blitz_plugin_free, after all its instances; keeps module borrowed. */
blitz_plugin *blitz_plugin_new(blitz_module *module, const char *name,
                               const blitz_plugin_limits *limits);
void blitz_plugin_free(blitz_plugin *plugin);
/* Say what import number index is served by. row is an index of blitz_host_at (ignored for TRAP).
 * BLITZ_E_STATE when the import's type is not the row's. */
int blitz_plugin_bind(blitz_plugin *plugin, uint32_t index, int how, uint32_t row);
/* Keep shared state under this name (copied) instead of the plugin's own, for those that share it. */
int blitz_plugin_set_namespace(blitz_plugin *plugin, const char *name);
/* Its host functions may wait for something outside: before the first instance. */
void blitz_plugin_may_wait(blitz_plugin *plugin);
/* It may send requests to the upstream of that name. */
int blitz_plugin_grant_upstream(blitz_plugin *plugin, const uint8_t *name, size_t len);
int blitz_plugin_grant_env(blitz_plugin *plugin, const uint8_t *name, size_t name_len,
                           const uint8_t *value, size_t value_len);
/* key "" is the whole config (get_config); others answer get_property("config.<key>"). */
int blitz_plugin_set_config(blitz_plugin *plugin, const uint8_t *key, size_t key_len,
                            const uint8_t *value, size_t value_len);
/* Say which export (by index) plays a part. Parts not named are left out of the calls.
 * BLITZ_E_STATE when the export's type is not one that the part may have:
 *   MEMORY       a memory, 32-bit and not shared (needed)
 *   START        ":"       _initialize or __wbindgen_start, once, before INIT
 *   INIT         ":i"      REQUEST "iiii:i"      RESPONSE "iii:i"      CLEANUP ":i"
 *   ALLOC        "i:i" (size) or "ii:i" (size, align)
 *   FREE         "i:" (pointer) or "ii:" (pointer, size): the host frees what it allocated for
 *                arguments; without it the callee does
 *   BUFFER       ":i" and BUFFER_SIZE ":i": a fixed area for arguments, asked for once, after INIT
 *   EXTERNREFS   a table of externref, for BLITZ_BIND_EXTERNREF_TABLE
 *   RESPONSE_HEAD "i:i", called instead of RESPONSE
 *   REQUEST_CHUNK, RESPONSE_CHUNK "iii:i"        END "ii:" */
enum {
    BLITZ_X_MEMORY = 0, BLITZ_X_START, BLITZ_X_INIT, BLITZ_X_REQUEST, BLITZ_X_RESPONSE, BLITZ_X_CLEANUP,
    BLITZ_X_ALLOC, BLITZ_X_FREE, BLITZ_X_BUFFER, BLITZ_X_BUFFER_SIZE, BLITZ_X_EXTERNREFS,
    BLITZ_X_RESPONSE_HEAD, BLITZ_X_REQUEST_CHUNK, BLITZ_X_RESPONSE_CHUNK, BLITZ_X_END, BLITZ_X_COUNT
};
/* First of all: the interface of the module, "blitz/1"; NUL-terminated. BLITZ_E_STATE: there is no such one. */
int blitz_plugin_speak(blitz_plugin *plugin, const char *abi);
int blitz_plugin_use_export(blitz_plugin *plugin, int part, uint32_t index);
/* It may change path and host so that they lead to another route. */
void blitz_plugin_allow_reroute(blitz_plugin *plugin);
/* WASI's clock tells it nanoseconds, not milliseconds. */
void blitz_plugin_allow_fine_clock(blitz_plugin *plugin);
/* After the binds: link. Unbound imports are an error. */
int blitz_plugin_link(blitz_plugin *plugin, char *error, size_t error_cap);
void blitz_plugin_set_log_level(blitz_plugin *plugin, int level);
/* Where it counts (borrowed by the plugin); NULL, as at first: nowhere. */
void blitz_plugin_set_measures(blitz_plugin *plugin, blitz_plugin_measures *measures);

/* The door to state that outlives a call and is shared: buckets, counters, values. Who keeps it fills in a table of
 * operations; a guest's calls (host_state.c) and Python's (blitz/state.py) go through it, and know nothing of what is
 * behind it. blitz/state.py has the contract: what a key, a bucket, a counter and a value are, and who waits.
 *
 * An operation returns 0 with what it found in result, or
 *   BLITZ_PENDING     the answer is not here yet: result->ticket names the operation from now on, until resume has
 *                     said something else of it, or forget was called
 *   BLITZ_E_DECLINED  get: there is no such key
 *   BLITZ_E_SYNTAX    add: the value is no decimal number of 64 bits
 *   BLITZ_E_LIMIT     set: the value is longer than 256 bytes
 *   BLITZ_E_STATE     the state is not to be had now
 * It takes a few microseconds at most, never waits, and borrows key and value for the call only. now_us: CLOCK_MONOTONIC;
 * whoever keeps the state elsewhere has a clock there. */
typedef struct blitz_state blitz_state;
typedef struct {
    uint64_t ticket;          /* of a pending operation */
    int64_t number;           /* take_token: tokens left after taking one, or minus the milliseconds until one is there;
                               * add: the sum */
    size_t len;               /* get: of value; a counter's is its decimal text */
    uint8_t value[256];
} blitz_state_result;
typedef struct {
    int (*take_token)(blitz_state *state, const uint8_t *key, size_t len, uint64_t interval, uint32_t burst,
                      uint64_t now_us, blitz_state_result *result);  /* interval: see blitz_rate_interval */
    int (*add)(blitz_state *state, const uint8_t *key, size_t len, int64_t delta, int64_t ttl_ms, uint64_t now_us,
               blitz_state_result *result);
    int (*set)(blitz_state *state, const uint8_t *key, size_t len, const uint8_t *value, size_t value_len,
               int64_t ttl_ms, uint64_t now_us, blitz_state_result *result);
    int (*get)(blitz_state *state, const uint8_t *key, size_t len, uint64_t now_us, blitz_state_result *result);
    /* What has become of a pending operation; as above. NULL: none is ever pending. */
    int (*resume)(blitz_state *state, uint64_t ticket, blitz_state_result *result);
    /* Nobody waits for it any more: it may still be done, and its answer goes nowhere. NULL with resume. */
    void (*forget)(blitz_state *state, uint64_t ticket);
} blitz_state_operations;
struct blitz_state { const blitz_state_operations *operations; };   /* the beginning of whatever is behind the door */
/* The state that a plugin's calls go to; borrowed. NULL: it has none. */
void blitz_plugin_set_state(blitz_plugin *plugin, blitz_state *state);

/* Rate limits (GCRA) and small values, one truth for every process that shares them. Created before fork
 * by the parent; anonymous shared memory. slots: of rate limits, rounded up to a power of two. */
typedef struct blitz_shared blitz_shared;
blitz_shared *blitz_shared_new(uint32_t slots);
void blitz_shared_free(blitz_shared *shared);
/* What is behind the state door today: these limits and values, in memory; nothing waits for it. The state is borrowed
 * from shared, and is not mapped: it is this process's own, and that of those forked from it. */
blitz_state *blitz_shared_state(blitz_shared *shared);
/* Nanoseconds between two tokens of a bucket that gets count of them in so many seconds. Rounded up: never more than that,
 * at most one part in 10^9 less at one per second. */
uint64_t blitz_rate_interval(uint32_t count, uint32_t seconds);
/* -> tokens left (>= 0) after taking one, or minus the milliseconds until one is there. interval in ns, now in us. */
int32_t blitz_shared_rate_limit(blitz_shared *shared, const uint8_t *key, size_t len,
                                uint64_t interval, uint32_t burst, uint64_t now_us);

/* Values and counters of a fixed number of keys; the least useful make room (see kv.c). A key is any bytes.
 * ttl_ms counts from when the key is made; 0 or less: until it makes room. now in us, CLOCK_MONOTONIC.
 * All return BLITZ_E_STATE when another process holds the key's part of the table for too long. */
typedef struct blitz_kv blitz_kv;
blitz_kv *blitz_shared_kv(blitz_shared *shared);   /* borrowed from shared */
/* Add delta, held at the ends of 64 bits; a key that is not there counts from 0, one that is keeps its time
 * to live. -> 0 and *sum, or BLITZ_E_SYNTAX: the value is no decimal number of 64 bits. */
int blitz_kv_incr(blitz_kv *kv, const uint8_t *key, size_t len, int64_t delta, int64_t ttl_ms, uint64_t now_us,
                  int64_t *sum);
/* -> 0, or BLITZ_E_LIMIT: the value is longer than 256 bytes. */
int blitz_kv_set(blitz_kv *kv, const uint8_t *key, size_t len, const uint8_t *value, size_t value_len,
                 int64_t ttl_ms, uint64_t now_us);
/* -> bytes written to value, which has room for 256; a counter as its decimal text. BLITZ_E_DECLINED: the
 * key is not there. */
int blitz_kv_get(blitz_kv *kv, const uint8_t *key, size_t len, uint64_t now_us, uint8_t *value);

/* ---------------------------------------------------------------- instances and calls
 * A call runs on a stack that it can be left on: the engine's own, or a fiber of wasmtime while somebody is parked there.
 * One that is pending goes on and ends in the thread that began it. Functions that start or go on with one return:
 *   >= 0   done; the verdict in the low 2 bits (BLITZ_V_*), flags above
 *   BLITZ_PENDING  the guest's time slice is over, or guests have had their share of this pass of the event
 *                  loop and this one has not begun (due): let others run, then blitz_call_resume
 *   BLITZ_FAULT    trap, exit, refused growth, bad verdict: see blitz_instance_fault; the instance is
 *                  poisoned: only fault, drain_log and free are allowed now
 */
enum { BLITZ_V_CONTINUE = 0, BLITZ_V_STOP = 1, BLITZ_V_ERROR = 2 };
enum { BLITZ_R_LOGS = 4, BLITZ_R_EDITS = 8, BLITZ_R_BODY = 16, BLITZ_R_HEALTHY = 0 };
enum { BLITZ_PENDING = -100, BLITZ_FAULT = -101 };

/* New instance, not started. NULL when out of slots or memory (error says which). */
blitz_instance *blitz_instance_new(blitz_plugin *plugin, char *error, size_t error_cap);
uint32_t blitz_instance_id(const blitz_instance *instance);      /* of its plugin's; not 0 */
uint64_t blitz_instance_calls(const blitz_instance *instance);   /* message hooks that came to an end */
/* Ends a pending call by unwinding it. */
void blitz_instance_free(blitz_instance *instance);
int blitz_call_start(blitz_instance *instance);      /* instantiate, _initialize / __wbindgen_start, init */
int blitz_call_request(blitz_instance *instance, blitz_exchange *exchange);
/* body: what process_response gets as its argument (exchange->body). */
int blitz_call_response(blitz_instance *instance, blitz_exchange *exchange);
int blitz_call_cleanup(blitz_instance *instance);
/* One part of a body, BLITZ_PARTS_REQUEST or _RESPONSE; at most blitz_part_room bytes, borrowed until the call is over, as
 * is into: where what comes of it goes if it has the room. end: nothing follows. CONTINUE: it goes on, STOP: the guest
 * wants to see no more of the body; with BLITZ_R_BODY, as blitz_part_out says. */
int blitz_call_part(blitz_instance *instance, blitz_exchange *exchange, int which, const uint8_t *data, size_t len,
                    int end, uint8_t *into, size_t room);
/* What came of the part in the last call, in into or in memory of the instance: borrowed until the next call. */
blitz_text blitz_part_out(const blitz_instance *instance);
enum { BLITZ_MOST_PART = 65536 };
size_t blitz_part_room(const blitz_instance *instance);
/* The stream of this instance has ended; cause: UTF-8, borrowed until the call is over. There is no message in hand. */
int blitz_call_end(blitz_instance *instance, const uint8_t *cause, size_t len);
/* What the plugin may change of the parts that it sees, BLITZ_PARTS_*: a head whose body it is forgets what was said of
 * the bytes. */
void blitz_plugin_set_changes(blitz_plugin *plugin, int changes);
int blitz_call_resume(blitz_instance *instance);
/* What a pending call waits for. TURN: it has not begun, because guests have had their share of the pass; SLICE: its
 * next time slice. blitz_call_resume goes on in either case, once others have had their turn. */
enum { BLITZ_WAITS_NOTHING = 0, BLITZ_WAITS_TURN, BLITZ_WAITS_SLICE, BLITZ_WAITS_SLEEP, BLITZ_WAITS_FETCH };
int blitz_call_waits(const blitz_instance *instance);
/* From SLEEP on, a host function waits for something outside, and blitz_call_resume changes nothing before this: then
 * the host function has result, and the call waits for its next time slice. */
void blitz_call_answer(blitz_instance *instance, int64_t result);
uint32_t blitz_wait_ms(const blitz_instance *instance);   /* how long it wants to, at most; FETCH: 0 is as long as it may */
/* FETCH: the guest's request, until blitz_call_answer. What comes of it is read into exchange->response. */
typedef struct {
    blitz_exchange *exchange;        /* request, and new_body where it has one (body_edited) */
    blitz_text upstream;             /* name of one that was granted */
    uint8_t names_host;              /* the request has a Host of the guest's */
} blitz_fetch;
const blitz_fetch *blitz_call_fetch(const blitz_instance *instance);   /* NULL: it does not wait for one */
/* Let the guest read that response and its body (copied). 0, BLITZ_E_NOMEM, or what blitz_head_add returns. */
int blitz_fetch_keep(blitz_instance *instance, const uint8_t *body, size_t len);
enum { BLITZ_FETCH_NOT_GRANTED = -1, BLITZ_FETCH_LATE = -2, BLITZ_FETCH_FAILED = -3 };   /* else its status */
void blitz_call_cancel(blitz_instance *instance);    /* unwind; the instance is poisoned */
/* As cancel, and the fault has the guest's frames; costs a time slice where a start section runs. */
void blitz_call_time_out(blitz_instance *instance);

enum {                        /* blitz_fault.kind */
    BLITZ_FAULT_TRAP = 1, BLITZ_FAULT_EXIT, BLITZ_FAULT_MEMORY, BLITZ_FAULT_VERDICT,
    BLITZ_FAULT_HOST, BLITZ_FAULT_INIT, BLITZ_FAULT_CANCELLED, BLITZ_FAULT_ENGINE
};
typedef struct {
    int kind;
    int code;                 /* trap code of wasmtime, exit status, verdict, or init's result */
    const char *hook;         /* the export that was called */
    const char *message;      /* one sentence, NUL-terminated, control bytes escaped */
    const char *frames;       /* "function\toffset\n" per frame, innermost first, or ""; offset: of the
                               * instruction in the module as it was compiled, SIZE_MAX when not known */
} blitz_fault;
/* Borrowed until the instance is freed. kind 0 when there was none. */
blitz_fault blitz_instance_fault(const blitz_instance *instance);
/* Log lines that calls left behind: records of (u8 level, u8 flags (1 truncated), u16 zero, u32 length, bytes).
 * Borrowed until the next call on this instance; taking empties it. */
blitz_text blitz_instance_take_log(blitz_instance *instance);
/* How a line is spelt that the plugin says at this level in its request or response hook, for lines: bytes as they
 * stand in the log, with one BLITZ_LOG_* where that is told; without the line's end. json: the text stands in a JSON
 * string. Copied. 0, BLITZ_E_STATE (there is no such level), BLITZ_E_NOMEM. */
int blitz_plugin_spell(blitz_plugin *plugin, const blitz_log_lines *lines, int is_response, int level,
                       int json, const uint8_t *spelling, size_t len);
/* How many lines the bounds of the plugin have swallowed, and for how many seconds, if the first of them is at
 * least min_age seconds old; else 0. Taking begins anew. */
uint64_t blitz_plugin_take_log_dropped(blitz_plugin *plugin, double min_age, double *seconds);
uint64_t blitz_instance_memory_size(const blitz_instance *instance);

/* ---------------------------------------------------------------- the steps of a chain (exchange->chain) */
/* Run request hooks from the first on. 0, or BLITZ_E_NOMEM. */
int blitz_chain_begin(blitz_exchange *exchange, blitz_pool **pools, uint32_t n);
/* Go on with the rest of other pools, which begin with those run so far. 0, or BLITZ_E_NOMEM. */
int blitz_chain_extend(blitz_exchange *exchange, blitz_pool **pools, uint32_t n);
/* The response is in the exchange: the plugins that saw the request see it now, in reverse, but for the one that
 * answered or failed. */
void blitz_chain_begin_response(blitz_exchange *exchange);
/* The same for a response of our own, with its body in new_body: a plugin's that answered, which it does not see. */
void blitz_chain_begin_local_response(blitz_exchange *exchange);
/* -> the next step that is not "continue", or CONTINUE at the end. */
int blitz_chain_go(blitz_exchange *exchange);
/* After PENDING: another slice for the guest in hand. */
int blitz_chain_resume(blitz_exchange *exchange);
/* After RETURNED without a fault, once its log was taken: do as its verdict says, unless that is an error. */
int blitz_chain_accept(blitz_exchange *exchange);
/* Give the instance in hand back: it is healthy. */
void blitz_chain_put_down(blitz_exchange *exchange);
/* The instance in hand is Python's now, to be ended. */
void blitz_chain_forget(blitz_exchange *exchange);
/* Leave the plugin in hand out, and go on behind it. */
int blitz_chain_skip(blitz_exchange *exchange);
/* Give back all that is held; no call may be pending. 1: Python has to see to the pools. */
int blitz_chain_release(blitz_exchange *exchange);

/* ---------------------------------------------------------------- idle connections to an endpoint */
/* DOWN: a health check says so. DRAINED: an operator does; it gets no new request until one says otherwise. */
enum { BLITZ_ENDPOINT_READY = 0, BLITZ_ENDPOINT_DOWN, BLITZ_ENDPOINT_LEAVING, BLITZ_ENDPOINT_DRAINED };
typedef struct { int32_t fd; double since, born; } blitz_idle;
typedef struct { double born; uint8_t stale; } blitz_taken;
typedef struct {
    uint32_t n, most;
    double idle_timeout, max_age;   /* seconds */
    uint8_t wanted;           /* somebody waits for a connection: the fast path gives none back by itself */
    uint8_t shut;             /* the fast path may neither take nor give: TLS, a PROXY header, not for everybody, retired */
    blitz_text name;          /* its address, for plugins */
    blitz_text host;          /* its own, for requests that bring none */
    double fails_until;       /* it failed too often: it is tried after those that work until then */
    double fails_since;       /* the first of the failures that are counted in fails */
    double back_since;        /* health checks found it up again; -INFINITY: it was never down */
    double weight;            /* its share of the requests, beside the others' */
    double account;           /* what round robin owes it */
    uint64_t key;             /* blitz_balance_hash of its name */
    struct blitz_cluster *cluster;   /* that it belongs to; NULL: none, and it never fails */
    uint32_t active;          /* exchanges that it has been chosen for, and that have not ended */
    uint32_t fails, ejections;
    uint8_t state;            /* BLITZ_ENDPOINT_* */
    blitz_text token, set_cookie;   /* with sticky: what the cookie says, and the whole Set-Cookie */
    blitz_idle *idle;         /* in the order in which they came back */
} blitz_endpoint;
/* max_age 0: connections may become as old as they like. */
blitz_endpoint *blitz_endpoint_new(uint32_t most, double idle_timeout, double max_age);
void blitz_endpoint_free(blitz_endpoint *endpoint);
/* born: when it was opened. 0, or BLITZ_E_LIMIT: it is too old, or there are as many as there may be. */
int blitz_endpoint_give(blitz_endpoint *endpoint, int fd, double born, double now);
/* The last used one that has been quiet for a moment, else the one that has for longest; -1: there is none.
 * stale: it has been idle for too long, or is too old. */
int blitz_endpoint_take(blitz_endpoint *endpoint, double now, blitz_taken *taken);
/* That one: 0, or BLITZ_E_STATE: it is not idle. */
int blitz_endpoint_remove(blitz_endpoint *endpoint, int fd);
/* One that has been idle for too long, or is too old, or -1. */
int blitz_endpoint_expire(blitz_endpoint *endpoint, double now);

/* ---------------------------------------------------------------- which endpoint: see balance.c
 * Endpoints that are interchangeable. */
enum { BLITZ_LB_ROUND_ROBIN = 0, BLITZ_LB_LEAST_CONN, BLITZ_LB_RANDOM_TWO, BLITZ_LB_HASH };
enum { BLITZ_HASH_CLIENT = 0, BLITZ_HASH_HEADER, BLITZ_HASH_COOKIE, BLITZ_HASH_PATH };
typedef struct blitz_cluster {
    uint32_t n;
    blitz_endpoint **endpoints;
    blitz_text host;          /* that its endpoints are told instead of the client's; len 0: none */
    uint8_t lb, hash_on;      /* BLITZ_LB_*, BLITZ_HASH_* */
    blitz_text hash_name;     /* of the field (lower case) or the cookie */
    blitz_text sticky;        /* name of the cookie that names an endpoint; len 0: none does */
    uint64_t random;          /* Python sets it once, at random */
    uint64_t requests;        /* sent, and sent again */
    uint32_t max_fails;       /* so many failures in fail_duration seconds, and it is left out for as long */
    double fail_duration, slow_start;   /* seconds; slow_start 0: all of its share at once */
    double max_ejected;       /* share of the endpoints that may be left out at once; one may always */
    uint8_t bad_status[75];   /* a bit for each status that counts as a failure */
} blitz_cluster;
uint64_t blitz_balance_hash(const uint8_t *bytes, size_t len);
/* The index of the endpoint for the request of exchange (NULL: none is known), or -1: all were tried. tried: n flags, or
 * NULL. n > 0. */
int32_t blitz_cluster_choose(const blitz_cluster *cluster, const blitz_exchange *exchange, double now,
                             const uint8_t *tried);
/* The request goes to that one. */
void blitz_cluster_take(blitz_cluster *cluster, uint32_t index, double now);
/* With sticky: 1: the request's cookie names that endpoint. */
int blitz_cluster_sticks(const blitz_cluster *cluster, const blitz_exchange *exchange, uint32_t index);
/* Have the response name it, if the request does not. 0, or what blitz_head_add returns. */
int blitz_cluster_stick(const blitz_cluster *cluster, blitz_exchange *exchange, uint32_t index);
/* A failure of it. 1: it is left out from now on. */
int blitz_endpoint_failed(blitz_endpoint *endpoint, double now);
int blitz_has_status(const uint8_t *set, uint32_t status);   /* 1: set (75 bytes, or NULL: empty) has a bit for it */

/* The upstreams of a route that share its requests by weight. Choosing changes nothing, as above. */
typedef struct { uint32_t n; const double *weights; double *accounts; } blitz_split;
uint32_t blitz_split_choose(const blitz_split *split);   /* n > 0 */
void blitz_split_take(blitz_split *split, uint32_t index);
/* A share of the requests of a route that are copied to another upstream. */
typedef struct { double percent, account; } blitz_mirror;
int blitz_mirror_is_due(const blitz_mirror *mirror);     /* 1: the next one is */
int blitz_mirror_take(blitz_mirror *mirror);             /* a request has come: 1: it is copied */
/* Let the writer say the right Host to one of its endpoints: the cluster's, the client's, or the endpoint's own. */
void blitz_write_host(blitz_write_options *options, const blitz_head *request, const blitz_cluster *cluster,
                      const blitz_endpoint *endpoint);

/* ---------------------------------------------------------------- TLS: C drives the SSL objects of Python's ssl
 * What the SSL object and its two memory BIOs do not know themselves; Python and C keep it for each other. */
typedef struct {
    void *ssl;                /* NULL: only Python drives it */
    void *inward, *outward;   /* its BIOs, of ciphertext from the peer and for it */
    unsigned long error;      /* OpenSSL's, of a handshake that failed; 0: it was the socket */
    size_t encrypted;         /* of the bytes to be sent next: their records were written already, and not all sent */
    uint8_t shaken;           /* the handshake is done */
    uint8_t broken;           /* nothing that makes sense can follow: not even close_notify */
    uint8_t ended;            /* the peer's close_notify was read */
    uint8_t holds_more;       /* inward, ssl or the socket may hold more than the last receive took */
    uint8_t large;            /* one of the BIOs has grown */
} blitz_tls;
/* path: the shared object of Python's _ssl. 0, or negative: error says why OpenSSL cannot be reached through it. */
int blitz_ssl_open(const char *path, char *error, size_t error_cap);
/* blitz_ssl_take: fill tls for the one SSL object that this thread has made since blitz_ssl_expect; both belong to
 * Python, which keeps the object alive. 0, or BLITZ_E_STATE: there was none, or more than one. */
void blitz_ssl_expect(void);
int blitz_ssl_take(blitz_tls *tls);
size_t blitz_ssl_received(const blitz_tls *tls);   /* bytes of ciphertext in inward */
/* tls->error in OpenSSL's words, and what was wrong with the peer's certificate (""): both end with a NUL, and are
 * valid until the next call. */
const char *blitz_ssl_reason(const blitz_tls *tls);
const char *blitz_ssl_refusal(const blitz_tls *tls);
/* Nothing is under way: give back what large records needed. */
void blitz_tls_rest(blitz_tls *tls);
/* Say that what was sent is all (close_notify), without waiting. 0; 1: nothing was done, what came has to be read first. */
int blitz_tls_finish(blitz_tls *tls, int fd);

/* ---------------------------------------------------------------- the access log: access_line.c, access_log.c
 * What is known of an exchange at its end; docs/operations.md explains the fields. Texts are borrowed for the call. */
enum { BLITZ_ACCESS_OFF = 0, BLITZ_ACCESS_JSON, BLITZ_ACCESS_COMMON, BLITZ_ACCESS_COMBINED };
typedef struct {
    double time, duration;    /* when the request head was complete, in seconds since 1970; seconds until the end */
    blitz_text method, target, host, user_agent, referrer, upstream, identity;   /* any octets: shown, and shortened */
    blitz_text id, client, http, scheme, route, plugin, cause, error;  /* UTF-8 that is fit for a line */
    uint64_t received, sent;
    uint32_t status, tries;
} blitz_access_record;
/* Octets of others in printable ASCII, at most so many characters of it, "..." for the rest. -> bytes written */
size_t blitz_access_show(uint8_t *dst, size_t most, const uint8_t *octets, size_t size);
typedef struct blitz_access_log blitz_access_log;   /* of one event loop */
typedef struct blitz_access_block blitz_access_block;
struct blitz_access_block {   /* whole lines, each less than 4096 bytes with its end */
    blitz_access_block *next;
    size_t len;
    uint8_t *data;
};
/* most: bytes that may wait; further lines are dropped and counted. It is off. NULL when out of memory. */
blitz_access_log *blitz_access_log_new(size_t most);
void blitz_access_log_free(blitz_access_log *log);
void blitz_access_log_set_kind(blitz_access_log *log, int kind);   /* BLITZ_ACCESS_* */
/* Add the line of record, unless the log is off. -> 1: the writer has to be woken, else 0. */
int blitz_access_log_add(blitz_access_log *log, const blitz_access_record *record);
/* All that waits, to be freed with blitz_access_blocks_free, in any thread; NULL: nothing. */
blitz_access_block *blitz_access_log_take(blitz_access_log *log);
void blitz_access_blocks_free(blitz_access_block *block);
/* -> 1: nothing waits, and the next line will say that the writer has to be woken; 0: something does. */
int blitz_access_log_sleep(blitz_access_log *log);
uint64_t blitz_access_log_dropped(const blitz_access_log *log);

/* ---------------------------------------------------------------- the fast path: see fast_path.c
 * Client connections that are served without Python as long as their exchanges are short. Times are
 * seconds of Python's clock. */
typedef struct blitz_fast_route {
    uint32_t id;              /* Python's */
    uint32_t n_pools;
    blitz_pool **pools;       /* of the plugins, in order */
    uint8_t before;           /* they run before a route is chosen: BLITZ_FAST_ASK comes behind them */
    uint8_t has_response;     /* one of them has a response hook */
    uint8_t edits_responses;  /* one of them may change a response's body that it has read */
    uint32_t n_drop_ids;      /* with that: how many of the options' drop_ids are meant */
    blitz_cluster *cluster;   /* NULL: the route gives the response itself */
    uint32_t status;          /* of that response, with kind (Content-Type) and body; 0: BLITZ_FAST_REPLY */
    blitz_text kind, body;
    uint8_t files;            /* BLITZ_FILES_*: its responses are files, and may be kept; 0: they are not */
    blitz_text name;
    double per_try;           /* seconds until it is given to Python, which may try it elsewhere; 0: first_byte alone */
    const uint8_t *retry_status;   /* as bad_status: those that Python may try again; NULL: none */
    blitz_split *split;       /* upstreams share the requests: branches has the route of each; NULL: cluster is it */
    struct blitz_fast_route **branches;
    uint32_t branch;          /* which of them this is */
    blitz_mirror *mirror;     /* or NULL */
    blitz_route_measures *measures;
    double first_byte;        /* seconds the upstream may take; 0: as many as it likes */
    double body_idle;         /* seconds between two pieces of a request's body; 0: any */
    double response_idle;     /* seconds between two pieces of a response's body; 0: any */
    double send_idle;         /* seconds in which a receiver takes nothing; 0: any */
    double collect;           /* seconds that the body of a response is collected; 0: any */
    uint8_t alone;            /* it serves every request, whatever path and host are */
    const blitz_path_table *paths;   /* where it is value of tree, whatever the host; NULL: Python looks */
    uint32_t tree;
    int32_t value;
    const blitz_route_rules *rules;   /* NULL: none */
    double total;             /* seconds of a whole exchange; 0: as for all; -1: any */
    int64_t max_body;         /* bytes of a request's body; 0: as for all; -1: any */
    uint32_t in_flight;       /* exchanges on the fast path that were sent to the endpoint */
} blitz_fast_route;

enum { BLITZ_FILES_KEPT = 1, BLITZ_FILES_CODED = 2 };   /* by Accept-Encoding, too */

/* Responses of static routes, for a moment: kept_responses.c. NULL: no memory. */
typedef struct blitz_kept blitz_kept;
blitz_kept *blitz_kept_new(void);
void blitz_kept_free(blitz_kept *kept);
/* Keep the response in the exchange, made for its request by the rules of route, until then; if it can be kept. */
void blitz_kept_put(blitz_kept *kept, const blitz_fast_route *route, const blitz_exchange *exchange, double until);
/* -> 1: the response to the request is in the exchange; 0: none is kept; or BLITZ_E_*. */
int blitz_kept_take(blitz_kept *kept, const blitz_fast_route *route, blitz_exchange *exchange, double now);

typedef struct blitz_fast_path blitz_fast_path;
typedef struct {              /* first what Python sets, then what it reads */
    blitz_engine *engine;     /* whose guests share the passes of the event loop with the fast path; or NULL */
    blitz_fast_route *route;  /* of every request; NULL: BLITZ_FAST_ASK */
    const blitz_head_limits *limits;
    double keepalive, first_request;
    double total;             /* seconds of a whole exchange; 0: as long as each wait may take */
    int64_t max_body;         /* bytes of a request's body; 0: no limit */
    uint32_t max_chunk_line, max_trailers;   /* as in blitz_chunks */
    blitz_rate rate;          /* what the sender of a request's body owes; owed 0: nothing */
    blitz_text id_field;      /* the field that tells the request's id; len 0: none */
    const blitz_chosen_by *chosen_by;   /* of every exchange */
    blitz_kept *kept;
    const uint8_t *date; size_t date_len;   /* of the present second */
    blitz_log_lines *lines;   /* where plugins' lines go; NULL: all are reported (BLITZ_FAST_LOGS) */
    uint32_t generation;      /* clients that entered under another one are given back: BLITZ_FAST_RELOADED */
    uint8_t draining;
    uint64_t *counted;        /* the cell that counts exchanges, wherever they begin; or NULL */
    uint8_t logged;           /* the access log is on */
    blitz_access_log *access_log;   /* gets the lines then */
    uint8_t held;             /* calls of guests wait in line: no other may begin before them */
    uint8_t left;             /* a turn ended before all was done */
    uint8_t used_up;          /* guests had their whole share of the pass before the present one */
    uint32_t clients, in_flight, slots, free_slots;
    uint32_t parts;           /* buffers of bodies, lent or spare */
    uint64_t reserved;        /* bytes for bodies that plugins see and that no such buffer holds */
    uint64_t exchanges;       /* that have begun */
} blitz_fast_face;

enum {
    BLITZ_FAST_QUIET = 0,     /* nothing for Python to do */
    BLITZ_FAST_NO_SLOT,       /* fill some, then go on */
    BLITZ_FAST_ASK,           /* a short request is in slot: find its route, then blitz_fast_route_it or _respond */
    BLITZ_FAST_REPLY,         /* route gives the response to the request in slot: make it, then blitz_fast_respond or _decline */
    BLITZ_FAST_LOGS,          /* instance has left log lines, for the exchange in slot: take them, then blitz_fast_accept */
    /* The client has left the fast path: */
    BLITZ_FAST_HAND_OVER,     /* with a request head in slot, and whatever else is there */
    BLITZ_FAST_UNSENT,        /* the answer is written but for unsent */
    BLITZ_FAST_HEAD_BYTES,    /* what is in slot is not a whole, plain head, or came behind the last request */
    BLITZ_FAST_CLOSED,        /* its end has come, or that of the connection with its answer */
    BLITZ_FAST_BROKEN, BLITZ_FAST_RELOADED,
    BLITZ_FAST_SHAKEN,        /* its TLS handshake is done */
    /* It is still there: */
    BLITZ_FAST_RETURNED,      /* only returned and told have to be seen to */
    BLITZ_FAST_LOGGED,        /* it was answered; line is to be counted and written, or (no method) the log's writer is to be
                               * woken */
    BLITZ_FAST_EXPIRED,       /* its deadline has passed */
    /* There is no client: */
    BLITZ_FAST_STIRRED,       /* something came on fd, an upstream connection that rested: unasked, or its end */
    BLITZ_FAST_GONE           /* fd, which blitz_fast_watch_elsewhere was told of, was reset */
};
enum { BLITZ_ANSWERED_BY_NONE = -1, BLITZ_ANSWERED_WITH_ERROR = -2 };   /* an error that Python knows */
enum {                        /* what a client on the fast path waits for; HEAD: for its next request */
    BLITZ_WAIT_HEAD = 0, BLITZ_WAIT_FIRST_BYTE, BLITZ_WAIT_RESPONSE, BLITZ_WAIT_SEND, BLITZ_WAIT_BODY,
    BLITZ_WAIT_SEND_UPSTREAM
};
enum {                        /* which body was on its way when the client left */
    BLITZ_STREAM_NONE = 0,
    BLITZ_STREAM_REQUEST = 1, /* its head was sent, and the response is not awaited yet */
    BLITZ_STREAM_RESPONSE = 2 /* the response has begun: its head was sent */
};
enum {                        /* what ended a body, beside BLITZ_BODY_CUT and the like */
    BLITZ_STREAM_SOURCE = -220,   /* its sender's connection broke */
    BLITZ_STREAM_SINK = -221,     /* its receiver's did */
    BLITZ_STREAM_STALLED = -222,  /* nothing came for too long */
    BLITZ_STREAM_SLOW = -223,     /* its sender is slower than it may be */
    BLITZ_STREAM_UNTAKEN = -224   /* its receiver took nothing for too long */
};
enum {                        /* what is to be done with an unfit upstream connection */
    BLITZ_UNFIT_LOOK = 0,     /* close it; what is there to be read was not asked for */
    BLITZ_UNFIT_CLOSE,        /* close it */
    BLITZ_UNFIT_UNASKED       /* close it; the upstream has said more than it was asked for */
};
typedef struct {              /* what is known of the exchange so far, for the access log */
    blitz_text method, target;   /* as the client sent them; valid until the next call; len 0: no exchange */
    double began;
    uint8_t minor;            /* of its version, HTTP/1.minor */
    size_t sent, received;    /* bytes of the bodies */
    uint32_t status;
    uint64_t plugins_ns, upstream_ns;   /* where time went */
    blitz_text host, user_agent, referrer;   /* this and the rest if face.logged */
    uint8_t id[32];
} blitz_fast_line;
typedef struct {
    int32_t what;             /* BLITZ_FAST_* */
    int32_t fd;               /* the client connection */
    int32_t slot;             /* Python's until blitz_fast_fill_slot (ASK, REPLY, LOGS: still the fast path's); -1: none */
    size_t size, got;         /* bytes in the slot's buffer: of the head, or of what is done with; and in all */
    const blitz_body *request_body;   /* with route: how the request's body comes in; NULL: it has none */
    const blitz_rate *rate;   /* with request_body: what its sender owes */
    double began;             /* when the head was complete */
    blitz_fast_route *route;  /* NULL: not decided */
    int32_t step;             /* the exchange's chain came to this BLITZ_CHAIN_* */
    uint32_t index;           /* of the plugin in hand */
    uint32_t instance;        /* of LOGS */
    uint8_t told;             /* see to the pools of the route */
    uint8_t served;           /* the connection has been answered before */
    int32_t upstream;         /* the request was written to it but for unsent; -1: not written */
    uint32_t endpoint;        /* of the route's cluster: whose upstream, unfit or returned is */
    uint8_t is_total;         /* EXPIRED: the time of the whole exchange is over */
    uint8_t is_local;         /* HAND_OVER: the exchange has a response of our own, and its response hooks have begun */
    int32_t answered;         /* index of the plugin that gave the response, or BLITZ_ANSWERED_* */
    uint8_t waiting;          /* EXPIRED: BLITZ_WAIT_* */
    uint8_t stream;           /* BLITZ_STREAM_* */
    uint8_t chunked;          /* of it: the body goes out in chunked coding; what is unsent is coded */
    const blitz_body *body_state;   /* of it, or of what is answer or has failed of the response's body: how far it has come in;
                               * valid until the next call */
    int32_t failed;           /* what ended it: BLITZ_BODY_*, BLITZ_STREAM_*; 0: nothing did. Without a stream: what came of
                               * the response's body is none; without an upstream either: of the request's */
    uint8_t answer_read;      /* answer_got bytes of its answer are at answer */
    const uint8_t *answer;    /* valid until the next call */
    size_t answer_got;
    size_t answer_size;       /* of its head, where response hooks have begun; else 0 */
    blitz_text collected;     /* what came of the response's body, with answer_size, or of the request's; ptr NULL: it is
                               * where it came. Valid until the next call. */
    double collected_for;     /* seconds that this took, of the response's */
    const uint8_t *unsent; size_t n_unsent;   /* valid until the next call */
    uint8_t closes;           /* UNSENT, and a response that has begun: the connection ends with it */
    int32_t unfit;            /* an upstream connection to close; -1: none */
    uint8_t unfit_why;        /* BLITZ_UNFIT_* */
    int32_t returned;         /* an upstream connection to give back to its endpoint; -1: none */
    int32_t error;            /* errno of BROKEN */
    blitz_fast_line line;
} blitz_fast_report;

blitz_fast_path *blitz_fast_new(void);   /* NULL: errno says why */
void blitz_fast_close(blitz_fast_path *fast);   /* nobody enters any more; whoever is there may leave */
void blitz_fast_free(blitz_fast_path *fast);
int blitz_fast_fileno(const blitz_fast_path *fast);   /* readable when there is something to do */
blitz_fast_face *blitz_fast_face_of(blitz_fast_path *fast);
void blitz_fast_lend(blitz_fast_path *fast, uint8_t *answer, size_t answer_size, uint8_t *scratch, size_t scratch_size);
/* Slots are numbered from 0; a new one is used once it is filled. -> its number, or BLITZ_E_NOMEM. */
int blitz_fast_add_slot(blitz_fast_path *fast);
void blitz_fast_fill_slot(blitz_fast_path *fast, int32_t index, uint8_t *buf, size_t size, blitz_exchange *exchange);
/* Give the slot with the largest number back if it is free. -> its number, or -1. */
int32_t blitz_fast_drop_slot(blitz_fast_path *fast);
/* A client connection with nothing unread but in the kernel and in tls, which encrypts it (NULL: plain). One that is
 * not shaken has its handshake there, without a deadline, and leaves: BLITZ_FAST_SHAKEN, or BROKEN. options: for what
 * it sends upstream, made for HTTP/1.1, NULL: ASK; ask: a trusted proxy, whose client is found in Python, as often as it
 * says another one; served: it has been answered before. 0, or errno. */
int blitz_fast_enter(blitz_fast_path *fast, int fd, blitz_tls *tls, const blitz_peer *peer,
                     const blitz_write_options *options, int ask, int served, double now);
/* Once for each upstream connection, before its endpoint gets it. 0, or errno. */
int blitz_fast_watch_upstream(blitz_fast_path *fast, int fd);
/* A client whose exchange runs in Python: GONE tells of its reset, once, also of one that was before. It ends when the client
 * enters. 0, or errno. */
int blitz_fast_watch_elsewhere(blitz_fast_path *fast, int fd);
/* Python has given a watched one to its endpoint (resting: what comes on it is reported), or has taken it. */
void blitz_fast_rest(blitz_fast_path *fast, int fd, int resting);
/* A pass of the event loop begins: do what is ready, for half a millisecond at most, until something is to be
 * reported; blitz_fast_go_on until there is nothing more. face.left: something is still ready, and a next turn is
 * to come soon. */
int blitz_fast_turn(blitz_fast_path *fast, double now, blitz_fast_report *report);
int blitz_fast_go_on(blitz_fast_path *fast, blitz_fast_report *report);
/* After ASK, with its report; if that has a route, behind that route's plugins, with which those of the new one begin.
 * options: made for the version of the request. route NULL: hand the request over. */
int blitz_fast_route_it(blitz_fast_path *fast, int fd, blitz_fast_route *route, const blitz_peer *peer,
                        const blitz_write_options *options, blitz_fast_report *report);
/* After ASK or REPLY, with its report: a response of our own is in the exchange. answered: BLITZ_ANSWERED_*. */
int blitz_fast_respond(blitz_fast_path *fast, int fd, int32_t answered, blitz_fast_report *report);
/* After REPLY, with its report: somebody has to wait for the response. */
int blitz_fast_decline(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* After LOGS, with its report. */
int blitz_fast_accept(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* Take a client out, whatever it does, if it is still there; report->upstream is to be closed. An exchange that
 * it had is in slot. */
void blitz_fast_leave(blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* The exchange of a client: its route, and its line whether or not face.logged; line.method.len 0: it has none. */
void blitz_fast_look(const blitz_fast_path *fast, int fd, blitz_fast_report *report);
/* Take out one client that has no request. -> RELOADED, or QUIET: there is none. */
int blitz_fast_next_idle(blitz_fast_path *fast, blitz_fast_report *report);
/* -> EXPIRED, HAND_OVER, or QUIET: no (further) deadline has passed. */
int blitz_fast_expired(blitz_fast_path *fast, double now, blitz_fast_report *report);


/* ---------------------------------------------------------------- files */

/* Open name below directory (a descriptor), without ever leaving it; links that stay inside are followed. flags: of
 * open(2). -> a descriptor, which the caller closes, or -errno: EXDEV: it leads out; ENOSYS or EPERM: the system has no
 * openat2(2), or a sandbox does not let it through. May wait for the disk: not for the event loop. */
int blitz_open_beneath(int directory, const char *name, int flags);
/* CDEF-END */
#endif
