/* mechanisms.c - the table of mechanisms. The server's offer, the client's choice, the configuration and the documentation come from it.
 *
 * Order:  best first. What binds the channel stands before what does not: it alone finds a man in the middle (RFC 5802 §6), which counts for
 *         more than the hash. CRAM-MD5 is last, behind what shows the password to the server under TLS: a server that has it keeps something
 *         of each password by which one can log in.
 * Tests:  tests/unit/sasl_mechanisms.c
 */
#include "inside.h"

/* clang-format off */
const struct sasl_mechanism sasl_mechanisms[] = {
    /* name                 bit                      RFC         by                    reveals needs_tls plus   hash */
    {"SCRAM-SHA-256-PLUS",  SASL_SCRAM_SHA_256_PLUS, "RFC 7677", SASL_BY_PASSWORD,     false,  true,     true,  SASL_SHA256},
    {"SCRAM-SHA-1-PLUS",    SASL_SCRAM_SHA_1_PLUS,   "RFC 5802", SASL_BY_PASSWORD,     false,  true,     true,  SASL_SHA1},
    {"SCRAM-SHA-256",       SASL_SCRAM_SHA_256,      "RFC 7677", SASL_BY_PASSWORD,     false,  false,    false, SASL_SHA256},
    {"SCRAM-SHA-1",         SASL_SCRAM_SHA_1,        "RFC 5802", SASL_BY_PASSWORD,     false,  false,    false, SASL_SHA1},
    {"EXTERNAL",            SASL_EXTERNAL,           "RFC 4422", SASL_BY_CERTIFICATE,  false,  true,     false, 0},
    {"OAUTHBEARER",         SASL_OAUTHBEARER,        "RFC 7628", SASL_BY_TOKEN,        true,   true,     false, 0},
    {"XOAUTH2",             SASL_XOAUTH2,            "none",     SASL_BY_TOKEN,        true,   true,     false, 0},
    {"PLAIN",               SASL_PLAIN,              "RFC 4616", SASL_BY_PASSWORD,     true,   true,     false, 0},
    {"LOGIN",               SASL_LOGIN,              "none",     SASL_BY_PASSWORD,     true,   true,     false, 0},
    {"CRAM-MD5",            SASL_CRAM_MD5,           "RFC 2195", SASL_BY_PASSWORD,     false,  true,     false, 0},
};
/* clang-format on */
const size_t sasl_mechanism_count = sizeof sasl_mechanisms / sizeof *sasl_mechanisms;

const struct sasl_mechanism *sasl_mechanism_find(struct vr_str name)
{
    for (size_t i = 0; i < sasl_mechanism_count; i++)
        if (vr_str_equal_nocase(name, vr_str_from(sasl_mechanisms[i].name)))
            return &sasl_mechanisms[i];
    return NULL;
}

unsigned sasl_mechanism_bits(struct vr_str names)
{
    unsigned bits = 0;
    struct vr_str one;
    while (vr_str_split(&names, ' ', &one)) {
        const struct sasl_mechanism *m = sasl_mechanism_find(one);
        bits |= m != NULL ? (unsigned)m->bit : 0;
    }
    return bits;
}

bool sasl_mechanism_names(struct vr_buf *out, unsigned bits)
{
    bool first = true;
    for (size_t i = 0; i < sasl_mechanism_count; i++) {
        if (!(bits & (unsigned)sasl_mechanisms[i].bit))
            continue;
        if (!first)
            vr_buf_add_byte(out, ' ');
        vr_buf_add(out, vr_str_from(sasl_mechanisms[i].name));
        first = false;
    }
    return !out->too_big;
}
