/* tls.c: drives the SSL object of a client connection that Python's ssl has made.
 *
 * All state lies in that object and its two memory BIOs, inward and outward, which hold ciphertext. So
 * Python's TlsStream and this file may take turns at any moment, as long as each leaves what the other one reads:
 * blitz_tls holds what is in neither.
 *
 * OpenSSL looks into a queue of errors to say what has become of a call: it is empty before each, and left empty
 * for Python. What it writes by itself (tickets, key updates, alerts) lies in outward after any call, so that is
 * given to the socket after reading, too.
 */
#include "tls.h"
#include "link.h"
#include "openssl_api.h"
#include <errno.h>
#include <limits.h>

enum {
    TAKEN = 17 * 1024,                   /* ciphertext received by one call: a full record, and one that comes before */
    SLICE = 64 * 1024,                   /* plaintext that is encrypted before the socket is asked: bounds outward */
    LARGE = 8 * 1024                     /* a BIO that has held more keeps too much memory for an idle connection */
};

static int at_most(size_t size) { return size < INT_MAX ? (int)size : INT_MAX; }

static ssize_t fail(blitz_tls *tls, int number)
{
    tls->broken = 1;
    blitz_ssl.ERR_clear_error();
    errno = number;
    return -1;
}

/* Give the socket what lies in outward. 0: all of it; 1: it would block; -1: errno. */
static int push(blitz_tls *tls, int fd)
{
    uint8_t *bytes = NULL;
    long size = blitz_ssl.BIO_ctrl(tls->outward, BIO_CTRL_INFO, 0, (void *)&bytes);
    if (size <= 0)
        return 0;
    ssize_t sent = blitz_link_send((blitz_link){fd, NULL}, bytes, (size_t)size);
    if (sent < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 1 : -1;
    if (sent == size) {
        blitz_ssl.BIO_ctrl(tls->outward, BIO_CTRL_RESET, 0, NULL);
        return 0;
    }
    uint8_t gone[4096];
    while (sent > 0) {
        int part = blitz_ssl.BIO_read(tls->outward, gone, sent < (ssize_t)sizeof gone ? (int)sent : (int)sizeof gone);
        if (part <= 0)
            break;
        sent -= part;
    }
    return 1;
}

/* Plaintext of what is in inward. -> its bytes; *end: SSL_ERROR_* that ended it, 0: there was room for no more. */
static size_t decrypt(blitz_tls *tls, uint8_t *bytes, size_t size, int *end)
{
    size_t got = 0;
    *end = 0;
    while (got < size) {
        blitz_ssl.ERR_clear_error();
        int part = blitz_ssl.SSL_read(tls->ssl, bytes + got, at_most(size - got));
        if (part <= 0) {
            *end = blitz_ssl.SSL_get_error(tls->ssl, part);
            blitz_ssl.ERR_clear_error();
            break;
        }
        got += (size_t)part;
    }
    return got;
}

/* Move what the socket has to inward. 1: it may have more; 0: it has no more for now; -1: errno, 0 at its end. */
static int take(blitz_tls *tls, int fd)
{
    uint8_t bytes[TAKEN];
    ssize_t got = blitz_link_receive((blitz_link){fd, NULL}, bytes, sizeof bytes);
    if (got <= 0) {
        errno = got == 0 ? 0 : errno;
        return -1;
    }
    tls->large |= got > LARGE;
    if (blitz_ssl.BIO_write(tls->inward, bytes, (int)got) != got) {
        errno = ENOMEM;
        return -1;
    }
    return got == (ssize_t)sizeof bytes;
}

int blitz_tls_shake(blitz_tls *tls, int fd)
{
    int more = take(tls, fd);
    if (more < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return (int)fail(tls, errno != 0 ? errno : ECONNRESET);
    blitz_ssl.ERR_clear_error();
    int done = blitz_ssl.SSL_do_handshake(tls->ssl);   /* ssl's callbacks take the interpreter's lock themselves */
    int end = done == 1 ? 0 : blitz_ssl.SSL_get_error(tls->ssl, done);
    if (end != 0 && end != SSL_ERROR_WANT_READ)
        tls->error = blitz_ssl.ERR_peek_last_error();
    blitz_ssl.ERR_clear_error();
    int blocked = push(tls, fd);
    if (end != 0 && end != SSL_ERROR_WANT_READ)
        return (int)fail(tls, EPROTO);
    if (blocked < 0)
        return (int)fail(tls, errno);
    tls->holds_more = blocked > 0 || more > 0;
    tls->shaken = done == 1 && blocked == 0;
    return tls->shaken;
}

ssize_t blitz_tls_receive(blitz_tls *tls, int fd, uint8_t *bytes, size_t size)
{
    int end, more = 1;                           /* as long as the socket has not been looked at */
    tls->holds_more = 0;
    if (tls->broken)
        return fail(tls, EPROTO);
    size_t got = decrypt(tls, bytes, size, &end);
    if (got == 0 && end == SSL_ERROR_WANT_READ) {
        more = take(tls, fd);
        if (more < 0 && errno != 0)
            return -1;
        /* RFC 8446 section 6.1: the end of a stream is close_notify. The library finds out that this is none. */
        if (more < 0)
            blitz_ssl.BIO_ctrl(tls->inward, BIO_C_SET_BUF_MEM_EOF_RETURN, 0, NULL);
        got = decrypt(tls, bytes, size, &end);
    }
    if (push(tls, fd) < 0 && got == 0)
        return -1;
    tls->ended |= end == SSL_ERROR_ZERO_RETURN;
    tls->holds_more = more != 0 || end != SSL_ERROR_WANT_READ;
    if (got > 0)
        return (ssize_t)got;
    if (end == SSL_ERROR_ZERO_RETURN)
        return 0;
    if (end != SSL_ERROR_WANT_READ)
        return fail(tls, EPROTO);
    errno = EAGAIN;
    return -1;
}

/* Write records for size bytes into outward. 0, or -1: errno. */
static int encrypt(blitz_tls *tls, const uint8_t *bytes, size_t size)
{
    tls->large |= size > LARGE;
    for (size_t done = 0; done < size;) {
        blitz_ssl.ERR_clear_error();
        int part = blitz_ssl.SSL_write(tls->ssl, bytes + done, at_most(size - done));
        if (part <= 0)
            return (int)fail(tls, EPROTO);
        done += (size_t)part;
    }
    return 0;
}

ssize_t blitz_tls_send(blitz_tls *tls, int fd, const uint8_t *bytes, size_t size)
{
    if (tls->broken)
        return fail(tls, EPROTO);
    int blocked = push(tls, fd);
    if (blocked < 0)
        return -1;
    size_t sent = 0;
    if (blocked == 0) {
        sent = tls->encrypted < size ? tls->encrypted : size;
        tls->encrypted = 0;
    }
    while (blocked == 0 && sent < size) {
        size_t slice = size - sent < SLICE ? size - sent : SLICE;
        if (encrypt(tls, bytes + sent, slice) < 0)
            return -1;
        blocked = push(tls, fd);
        if (blocked == 0)
            sent += slice;
        else if (blocked > 0)
            tls->encrypted = slice;
    }
    if (blocked < 0)
        return -1;
    if (blocked > 0 && sent == 0) {
        errno = EAGAIN;
        return -1;
    }
    return (ssize_t)sent;
}

int blitz_tls_finish(blitz_tls *tls, int fd)
{
    /* The library looks for the peer's close_notify, and fails if it finds data: Python takes those out first. */
    if (blitz_ssl.BIO_ctrl_pending(tls->inward) > 0 || blitz_ssl.SSL_pending(tls->ssl) > 0)
        return 1;
    blitz_ssl.ERR_clear_error();
    blitz_ssl.SSL_shutdown(tls->ssl);
    blitz_ssl.ERR_clear_error();
    if (push(tls, fd) < 0)                       /* what the socket does not take now stays in outward */
        blitz_ssl.BIO_ctrl(tls->outward, BIO_CTRL_RESET, 0, NULL);
    return 0;
}

static void shrink(BIO *bio)
{
    BUF_MEM *empty = blitz_ssl.BIO_ctrl_pending(bio) == 0 ? blitz_ssl.BUF_MEM_new() : NULL;
    if (empty != NULL && blitz_ssl.BIO_ctrl(bio, BIO_C_SET_BUF_MEM, BIO_CLOSE, empty) <= 0)
        blitz_ssl.BUF_MEM_free(empty);
}

void blitz_tls_rest(blitz_tls *tls)
{
    if (!tls->large)
        return;
    tls->large = 0;
    shrink(tls->inward);
    shrink(tls->outward);
}
