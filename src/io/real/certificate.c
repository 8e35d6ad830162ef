/* certificate.c - see certificate.h.
 *
 * Tests: tests/unit/io_certificate.c
 */
#include "io/certificate.h"

#include "io/real/tls_inside.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define CHAIN_MAX 20

static BIO *bio_of(struct vr_str pem)
{
    return BIO_new_mem_buf(pem.p != NULL ? pem.p : "", (int)pem.n);
}

static struct vr_str name_text(struct vr_arena *arena, const X509_NAME *name)
{
    BIO *out = BIO_new(BIO_s_mem());
    char *p = NULL;
    struct vr_str text = {0};
    if (out != NULL && X509_NAME_print_ex(out, name, 0,
                                          (XN_FLAG_ONELINE & ~(unsigned long)ASN1_STRFLGS_ESC_MSB &
                                           ~(unsigned long)XN_FLAG_SPC_EQ)) >= 0) {
        long n = BIO_get_mem_data(out, &p);
        text = vr_arena_dup(arena, vr_str(p, n > 0 ? (size_t)n : 0));
    }
    BIO_free(out);
    return text;
}

static int64_t time_of(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (int64_t)timegm(&tm) : 0;
}

/* A name that could not be one, with control bytes or blanks, is no use to anybody. */
static bool printable(struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] == 0x7f)
            return false;
    return s.n > 0;
}

static void add_name(struct vr_arena *arena, struct io_certificate *c, struct vr_str name)
{
    if (!printable(name))
        return;
    c->names_in_all++;
    struct vr_str copy = vr_arena_dup(arena, name);
    if (c->name_count < IO_CERTIFICATE_NAMES_MAX && copy.n > 0)
        c->names[c->name_count++] = copy;
}

static void add_general_name(struct vr_arena *arena, struct io_certificate *c, const GENERAL_NAME *g)
{
    int type;
    const ASN1_STRING *value = GENERAL_NAME_get0_value(g, &type);
    const unsigned char *p = type == GEN_DNS || type == GEN_IPADD ? ASN1_STRING_get0_data(value) : NULL;
    size_t n = p != NULL ? (size_t)ASN1_STRING_length(value) : 0;
    char text[INET6_ADDRSTRLEN];
    if (type == GEN_DNS)
        add_name(arena, c, vr_str((const char *)p, n));
    else if (type == GEN_IPADD && (n == 4 || n == 16) &&
             inet_ntop(n == 4 ? AF_INET : AF_INET6, p, text, sizeof text) != NULL)
        add_name(arena, c, vr_str_from(text));
}

static void read_names(struct vr_arena *arena, struct io_certificate *c, const X509 *x)
{
    GENERAL_NAMES *all = X509_get_ext_d2i(x, NID_subject_alt_name, NULL, NULL);
    c->names = vr_arena_alloc(arena, IO_CERTIFICATE_NAMES_MAX * sizeof *c->names);
    if (c->names == NULL)
        return;
    for (int i = 0; all != NULL && i < sk_GENERAL_NAME_num(all); i++)
        add_general_name(arena, c, sk_GENERAL_NAME_value(all, i));
    if (all == NULL) {
        char common[256];
        int n = X509_NAME_get_text_by_NID(X509_get_subject_name(x), NID_commonName, common, sizeof common);
        if (n > 0)
            add_name(arena, c, vr_str(common, (size_t)n));
    }
    GENERAL_NAMES_free(all);
}

static void read_key(struct io_certificate *c, EVP_PKEY *key)
{
    char group[32] = "";
    const char *type = key != NULL ? EVP_PKEY_get0_type_name(key) : NULL;
    if (type == NULL)
        snprintf(c->key, sizeof c->key, "unknown");
    else if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) == 1 && strcmp(type, "EC") == 0)
        snprintf(c->key, sizeof c->key, "EC %.16s",
                 strcmp(group, "prime256v1") == 0  ? "P-256"
                 : strcmp(group, "secp384r1") == 0 ? "P-384"
                 : strcmp(group, "secp521r1") == 0 ? "P-521"
                                                   : group);
    else if (strcmp(type, "ED25519") == 0 || strcmp(type, "ED448") == 0)
        snprintf(c->key, sizeof c->key, "Ed%s", type + 2);
    else
        snprintf(c->key, sizeof c->key, "%.14s %d", type, EVP_PKEY_get_bits(key));
}

static bool read_digests(struct io_certificate *c, X509 *x)
{
    unsigned char *spki = NULL;
    int n = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(x), &spki);
    unsigned size = 0;
    bool good = n > 0 && EVP_Digest(spki, (size_t)n, c->tlsa_3_1_1, NULL, EVP_sha256(), NULL) == 1 &&
                X509_digest(x, EVP_sha256(), c->sha256, &size) == 1;
    OPENSSL_free(spki);
    return good;
}

bool io_certificate_read(struct vr_arena *arena, struct vr_str pem, struct io_certificate *out,
                         char error[256])
{
    *out = (struct io_certificate){0};
    ERR_clear_error();
    BIO *in = bio_of(pem);
    X509 *x = in != NULL ? PEM_read_bio_X509_AUX(in, NULL, NULL, NULL) : NULL;
    if (x == NULL || !read_digests(out, x)) {
        char reason[160];
        tls_reason(reason, sizeof reason);
        snprintf(error, 256, "no certificate in PEM can be read there: %s", reason);
        X509_free(x);
        BIO_free(in);
        return false;
    }
    out->subject = name_text(arena, X509_get_subject_name(x));
    out->issuer = name_text(arena, X509_get_issuer_name(x));
    out->not_before = time_of(X509_get0_notBefore(x));
    out->not_after = time_of(X509_get0_notAfter(x));
    EVP_PKEY *key = X509_get0_pubkey(x);
    read_key(out, key);
    out->self_signed = key != NULL && X509_verify(x, key) == 1;
    read_names(arena, out, x);
    X509_free(x);
    while ((x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL) {
        out->chain++;
        X509_free(x);
    }
    BIO_free(in);
    ERR_clear_error();
    return true;
}

bool io_certificate_is_for(const struct io_certificate *c, struct vr_str host)
{
    for (size_t i = 0; i < c->name_count; i++)
        if (tls_name_matches(c->names[i], host))
            return true;
    return false;
}

/* ---- chains ---------------------------------------------------------------------------------------------------- */

static STACK_OF(X509) * read_chain(struct vr_str pem)
{
    STACK_OF(X509) *all = sk_X509_new_null();
    BIO *in = bio_of(pem);
    X509 *x;
    while (in != NULL && all != NULL && sk_X509_num(all) < CHAIN_MAX &&
           (x = PEM_read_bio_X509(in, NULL, NULL, NULL)) != NULL)
        sk_X509_push(all, x);
    BIO_free(in);
    ERR_clear_error();
    return all;
}

static void short_name(const X509_NAME *name, char out[80])
{
    char text[65] = "";
    int n = X509_NAME_get_text_by_NID(name, NID_commonName, text, sizeof text);
    if (n <= 0)
        n = X509_NAME_get_text_by_NID(name, NID_organizationName, text, sizeof text);
    for (int i = 0; i < n; i++)
        if ((unsigned char)text[i] < ' ' || text[i] == 0x7f)
            text[i] = '?';
    snprintf(out, 80, "%s", n > 0 ? text : "unnamed");
}

/* What is wrong with the order, or the dates of those that follow; servers are to send them in order (RFC 5246 §7.4.2). */
static bool order_problem(STACK_OF(X509) * all, int64_t now, char out[256])
{
    time_t at = (time_t)now;
    for (int i = 1; i < sk_X509_num(all); i++) {
        X509 *issuer = sk_X509_value(all, i);
        char name[80];
        short_name(X509_get_subject_name(issuer), name);
        if (X509_check_issued(issuer, sk_X509_value(all, i - 1)) != X509_V_OK) {
            snprintf(
                out, 256,
                "certificate %d of the file (%s) did not sign the one before it: put the server's own first, "
                "then each one's issuer",
                i + 1, name);
            return true;
        }
        if (X509_cmp_time(X509_get0_notAfter(issuer), &at) < 0) {
            snprintf(out, 256,
                     "the intermediate certificate %s has expired: get the chain anew from the authority",
                     name);
            return true;
        }
    }
    return false;
}

static void verify_problem(X509_STORE_CTX *ctx, char out[256])
{
    int e = X509_STORE_CTX_get_error(ctx);
    X509 *at = X509_STORE_CTX_get_current_cert(ctx);
    char issuer[80] = "unknown";
    if (at != NULL)
        short_name(X509_get_issuer_name(at), issuer);
    if (e == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY ||
        e == X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE || e == X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT)
        snprintf(
            out, 256,
            "the certificate of its issuer (%s) is neither in the file nor trusted by this machine: put the "
            "authority's intermediate certificates behind the server's own",
            issuer);
    else if (e == X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN)
        snprintf(out, 256, "its authority (%s) is none that this machine trusts", issuer);
    else
        snprintf(out, 256, "%s", X509_verify_cert_error_string(e));
}

bool io_certificate_chain_problem(struct vr_str pem, const char *ca_file, int64_t now, char out[256])
{
    STACK_OF(X509) *all = read_chain(pem);
    X509_STORE *trusted = X509_STORE_new();
    X509_STORE_CTX *ctx = X509_STORE_CTX_new();
    bool wrong = false;
    out[0] = '\0';
    if (all == NULL || trusted == NULL || ctx == NULL || sk_X509_num(all) == 0) {
        snprintf(out, 256, "there is no certificate");
        wrong = true;
    } else if (!(wrong = order_problem(all, now, out))) {
        if (ca_file == NULL)
            X509_STORE_set_default_paths(trusted);
        else
            X509_STORE_load_file(trusted, ca_file);
        if (X509_STORE_CTX_init(ctx, trusted, sk_X509_value(all, 0), all) == 1) {
            X509_STORE_CTX_set_purpose(ctx, X509_PURPOSE_SSL_SERVER);
            X509_STORE_CTX_set_flags(ctx, X509_V_FLAG_NO_CHECK_TIME | X509_V_FLAG_PARTIAL_CHAIN);
            wrong = X509_verify_cert(ctx) != 1;
        }
        if (wrong && X509_self_signed(sk_X509_value(all, 0), 1) == 1)
            snprintf(out, 256,
                     "nobody but itself has signed it: only who pins it by DANE, or looks at no certificate, "
                     "accepts it");
        else if (wrong)
            verify_problem(ctx, out);
    }
    X509_STORE_CTX_free(ctx);
    X509_STORE_free(trusted);
    sk_X509_pop_free(all, X509_free);
    ERR_clear_error();
    return wrong;
}
