/* tls_peer.c - what a session under TLS says of its two ends: channel binding data, and whom a client's certificate names.
 *
 * Sources: RFC 9266 (tls-exporter), RFC 5929 §3, §4.1 (tls-unique, tls-server-end-point), RFC 5280 §4.2.1.6 (rfc822Name)
 * Tests:   tests/unit/io_tls.c, tests/e2e/test_auth.py
 */
#include "io/real/tls_inside.h"

#include <openssl/x509v3.h>
#include <string.h>

#define EXPORTER_LABEL "EXPORTER-Channel-Binding"

static void export(SSL *ssl, struct io_tls_binding *out)
{
    /* No context: to TLS 1.3 the same as an empty one (RFC 8446 §7.5), in 1.2 what other implementations do */
    if (SSL_export_keying_material(ssl, out->exporter, sizeof out->exporter, EXPORTER_LABEL,
                                   sizeof EXPORTER_LABEL - 1, NULL, 0, 0) == 1)
        out->exporter_n = sizeof out->exporter;
}

/* The first Finished of the handshake: the client's, in a resumed session the server's. */
static void first_finished(SSL *ssl, struct io_tls_binding *out)
{
    bool ours = !SSL_is_server(ssl) != (SSL_session_reused(ssl) == 1);
    size_t n = ours ? SSL_get_finished(ssl, out->unique, sizeof out->unique)
                    : SSL_get_peer_finished(ssl, out->unique, sizeof out->unique);
    out->unique_n = n <= sizeof out->unique ? n : 0;
}

/* The hash of the signature, SHA-256 in place of those that are too weak. */
static void hash_end_point(SSL *ssl, struct io_tls_binding *out)
{
    const X509 *x = SSL_is_server(ssl) ? SSL_get_certificate(ssl) : SSL_get0_peer_certificate(ssl);
    int digest = NID_undef;
    unsigned n = 0;
    if (x == NULL || X509_get_signature_info((X509 *)(uintptr_t)x, &digest, NULL, NULL, NULL) != 1)
        return;
    if (digest == NID_md5 || digest == NID_sha1)
        digest = NID_sha256;
    const EVP_MD *md = digest != NID_undef ? EVP_get_digestbynid(digest) : NULL;
    if (md != NULL && (size_t)EVP_MD_get_size(md) <= sizeof out->end_point &&
        X509_digest(x, md, out->end_point, &n) == 1)
        out->end_point_n = n;
}

void tls_binding(SSL *ssl, struct io_tls_binding *out)
{
    bool new = SSL_version(ssl) >= TLS1_3_VERSION;
    /* without the extended master secret two sessions of TLS 1.2 can be made to share their secrets (RFC 7627 §1) */
    if (new || SSL_get_extms_support(ssl) == 1)
        export(ssl, out);
    if (!new &&SSL_get_extms_support(ssl) == 1)
        first_finished(ssl, out);
    hash_end_point(ssl, out);
}

/* ---- names ---------------------------------------------------------------------------------------------------- */

static bool add_name(struct vr_buf *out, struct vr_str name)
{
    for (size_t i = 0; i < name.n; i++)
        if ((unsigned char)name.p[i] < 0x20 || name.p[i] == 0x7f)
            return false;
    if (name.n == 0)
        return false;
    if (vr_buf_size(out) > 0)
        vr_buf_add_byte(out, '\n');
    return vr_buf_add(out, name);
}

static bool add_rfc822_names(X509 *peer, struct vr_buf *out)
{
    bool found = false;
    GENERAL_NAMES *names = X509_get_ext_d2i(peer, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *g = sk_GENERAL_NAME_value(names, i);
        if (g->type == GEN_EMAIL)
            found |= add_name(out, vr_str((const char *)ASN1_STRING_get0_data(g->d.rfc822Name),
                                          (size_t)ASN1_STRING_length(g->d.rfc822Name)));
    }
    GENERAL_NAMES_free(names);
    return found;
}

bool tls_peer_addresses(X509 *peer, struct vr_buf *out)
{
    if (add_rfc822_names(peer, out))
        return true;
    X509_NAME *subject = X509_get_subject_name(peer);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    unsigned char *utf8 = NULL;
    int n =
        at < 0 ? -1 : ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    bool found = n > 0 && add_name(out, vr_str((const char *)utf8, (size_t)n));
    OPENSSL_free(utf8);
    return found;
}
