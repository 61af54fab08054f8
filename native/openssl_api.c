/* openssl_api.c: finds the OpenSSL that Python's ssl uses, and each SSL that ssl makes. See openssl_api.h. */
#include "openssl_api.h"
#include "blitz_native.h"
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>

blitz_openssl blitz_ssl;

static const struct { const char *name; size_t offset; } FUNCTIONS[] = {
#define X(result, name, parameters) {#name, offsetof(blitz_openssl, name)},
    BLITZ_OPENSSL_FUNCTIONS(X)
#undef X
};

/* What this thread has made since blitz_ssl_expect: another one may use ssl at the same time. */
static _Thread_local struct { SSL *last; unsigned count; } made;

static void note_made(void *parent, void *ptr, CRYPTO_EX_DATA *ad, int idx, long argl, void *argp)
{
    (void)ptr, (void)ad, (void)idx, (void)argl, (void)argp;
    made.last = parent;
    made.count++;
}

int blitz_ssl_open(const char *path, char *error, size_t error_cap)
{
    if (blitz_ssl.library != NULL)
        return 0;
    void *library = dlopen(path, RTLD_NOW | RTLD_NOLOAD);
    if (library == NULL) {
        snprintf(error, error_cap, "%s is not loaded", path);
        return BLITZ_E_STATE;
    }
    blitz_openssl table = {0};
    for (size_t i = 0; i < sizeof FUNCTIONS / sizeof *FUNCTIONS; i++) {
        void *address = dlsym(library, FUNCTIONS[i].name);    /* also looks in what path is linked with */
        if (address == NULL) {
            snprintf(error, error_cap, "%s shows no %s", path, FUNCTIONS[i].name);
            dlclose(library);
            return BLITZ_E_STATE;
        }
        memcpy((char *)&table + FUNCTIONS[i].offset, &address, sizeof address);
    }
    if (table.CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, note_made, NULL, NULL) < 0) {
        snprintf(error, error_cap, "no index for SSL objects");
        dlclose(library);
        return BLITZ_E_NOMEM;
    }
    table.library = library;
    blitz_ssl = table;
    return 0;
}

void blitz_ssl_expect(void)
{
    made.last = NULL;
    made.count = 0;
}

int blitz_ssl_take(blitz_tls *tls)
{
    SSL *ssl = made.count == 1 ? made.last : NULL;
    blitz_ssl_expect();
    if (ssl == NULL)
        return BLITZ_E_STATE;
    BIO *in = blitz_ssl.SSL_get_rbio(ssl), *out = blitz_ssl.SSL_get_wbio(ssl);
    if (in == NULL || out == NULL)
        return BLITZ_E_STATE;
    *tls = (blitz_tls){.ssl = ssl, .inward = in, .outward = out};
    return 0;
}

const char *blitz_ssl_reason(const blitz_tls *tls)
{
    const char *text = blitz_ssl.ERR_reason_error_string(tls->error);
    return text != NULL ? text : "SSL error";
}

const char *blitz_ssl_refusal(const blitz_tls *tls)
{
    if ((tls->error & ERR_REASON_MASK) != SSL_R_CERTIFICATE_VERIFY_FAILED)
        return "";
    return blitz_ssl.X509_verify_cert_error_string(blitz_ssl.SSL_get_verify_result(tls->ssl));
}

size_t blitz_ssl_received(const blitz_tls *tls) { return blitz_ssl.BIO_ctrl_pending(tls->inward); }
