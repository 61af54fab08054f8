/* openssl_api.h: the part of OpenSSL that Blitz uses, bound at run time in the library that Python's ssl uses.
 *
 * Nothing is linked: a libssl of our own would be one whose security updates are ours, and it could not drive an
 * SSL object that another copy has made. The declarations are those of OpenSSL 1.1.1 and 3 (ssl.h, bio.h,
 * crypto.h), which are the same for all of these; everything is opaque.
 */
#ifndef BLITZ_OPENSSL_API_H
#define BLITZ_OPENSSL_API_H
#include <stddef.h>

typedef struct ssl_st SSL;
typedef struct bio_st BIO;
typedef struct buf_mem_st BUF_MEM;
typedef struct crypto_ex_data_st CRYPTO_EX_DATA;
typedef void CRYPTO_EX_new(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp);
typedef int CRYPTO_EX_dup(void);         /* never given */
typedef void CRYPTO_EX_free(void);       /* never given */

enum { CRYPTO_EX_INDEX_SSL = 0 };
enum { SSL_ERROR_WANT_READ = 2, SSL_ERROR_ZERO_RETURN = 6 };
enum { SSL_R_CERTIFICATE_VERIFY_FAILED = 134, ERR_REASON_MASK = 0xfff };
enum { BIO_CTRL_RESET = 1, BIO_CTRL_INFO = 3, BIO_C_SET_BUF_MEM = 114, BIO_C_SET_BUF_MEM_EOF_RETURN = 130, BIO_CLOSE = 1 };

#define BLITZ_OPENSSL_FUNCTIONS(X) \
    X(int, CRYPTO_get_ex_new_index, (int, long, void *, CRYPTO_EX_new *, CRYPTO_EX_dup *, CRYPTO_EX_free *)) \
    X(void, ERR_clear_error, (void)) \
    X(unsigned long, ERR_peek_last_error, (void)) \
    X(const char *, ERR_reason_error_string, (unsigned long)) \
    X(const char *, X509_verify_cert_error_string, (long)) \
    X(int, SSL_do_handshake, (SSL *)) \
    X(long, SSL_get_verify_result, (const SSL *)) \
    X(int, SSL_get_error, (const SSL *, int)) \
    X(BIO *, SSL_get_rbio, (const SSL *)) \
    X(BIO *, SSL_get_wbio, (const SSL *)) \
    X(int, SSL_pending, (const SSL *)) \
    X(int, SSL_read, (SSL *, void *, int)) \
    X(int, SSL_shutdown, (SSL *)) \
    X(int, SSL_write, (SSL *, const void *, int)) \
    X(long, BIO_ctrl, (BIO *, int, long, void *)) \
    X(size_t, BIO_ctrl_pending, (BIO *)) \
    X(int, BIO_read, (BIO *, void *, int)) \
    X(int, BIO_write, (BIO *, const void *, int)) \
    X(BUF_MEM *, BUF_MEM_new, (void)) \
    X(void, BUF_MEM_free, (BUF_MEM *))

typedef struct {
    void *library;                       /* NULL: not bound */
#define X(result, name, parameters) result (*name) parameters;
    BLITZ_OPENSSL_FUNCTIONS(X)
#undef X
} blitz_openssl;

extern blitz_openssl blitz_ssl;
#endif
