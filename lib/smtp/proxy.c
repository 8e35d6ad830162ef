/* proxy.c - reading and writing the header of the PROXY protocol, versions 1 and 2 (HAProxy's proxy-protocol.txt).
 *
 * Promise: never takes a byte behind the header; the same header out of any pieces; no length in it is believed before it was measured.
 * Tests:   tests/unit/proxy.c, tests/fuzz/fuzz_proxy.c
 */
#include <veredus/proxy.h>

#include <veredus/address.h>

#include <string.h>

#define SIGNATURE   "\r\n\r\n\0\r\nQUIT\n"
#define SIGNATURE_N (sizeof SIGNATURE - 1)
#define V1_WORD     "PROXY "
#define V1_WORD_N   (sizeof V1_WORD - 1)

enum { VERSION_AT = 12, FAMILY_AT = 13, LENGTH_AT = 14 }; /* in the fixed part of version 2 */
enum { COMMAND_LOCAL = 0, COMMAND_PROXY = 1 };
enum { TRANSPORT_UNSPEC = 0, TRANSPORT_STREAM = 1 };

enum tlv_type {
    TLV_ALPN = 0x01,
    TLV_AUTHORITY = 0x02,
    TLV_CRC32C = 0x03,
    TLV_UNIQUE_ID = 0x05,
    TLV_SSL = 0x20,
    TLV_SSL_VERSION = 0x21,
    TLV_SSL_CN = 0x22,
    TLV_SSL_CIPHER = 0x23
};
#define UNIQUE_ID_MAX 128
#define TLV_HEAD      3 /* octets: the type and the length of the value */

/* Where the addresses of a family stand behind the fixed part. */
static const struct family_row {
    enum proxy_family family;
    size_t address_n, block_n; /* octets of one address, of all of them with the ports */
} families[] = {
    {PROXY_UNKNOWN, 0, 0},
    {PROXY_INET, 4, 12},
    {PROXY_INET6, 16, 36},
    {PROXY_UNIX, PROXY_UNIX_PATH, 2 * PROXY_UNIX_PATH},
};
#define FAMILY_COUNT (sizeof families / sizeof *families) /* the index is the number on the wire */

void proxy_reader_init(struct proxy_reader *r, size_t v2_max)
{
    size_t behind = v2_max > 0 ? v2_max : PROXY_V2_MAX;
    *r = (struct proxy_reader){.v2_max = behind, .why = ""};
    vr_buf_init(&r->in, PROXY_V2_FIXED + behind > PROXY_V1_MAX ? PROXY_V2_FIXED + behind : PROXY_V1_MAX);
}

void proxy_reader_fini(struct proxy_reader *r)
{
    vr_buf_fini(&r->in);
}

const char *proxy_reader_why(const struct proxy_reader *r)
{
    return r->why;
}

static enum proxy_status bad(struct proxy_reader *r, const char *why)
{
    r->why = why;
    return PROXY_BAD;
}

static unsigned byte_at(struct vr_str s, size_t i)
{
    return (unsigned char)s.p[i];
}

static size_t u16_at(struct vr_str s, size_t i)
{
    return byte_at(s, i) << 8 | byte_at(s, i + 1);
}

/* ---- version 1 ------------------------------------------------------------------------------------------------- */

/* 0 to 65535, without signs, blanks and leading zeros */
static bool read_port(struct vr_str text, uint16_t *out)
{
    uint64_t v;
    if (text.n == 0 || text.n > 5 || (text.n > 1 && text.p[0] == '0') || !vr_str_to_u64(text, &v) ||
        v > 65535)
        return false;
    *out = (uint16_t)v;
    return true;
}

static bool read_ip(struct vr_str text, enum proxy_family wanted, struct proxy_end *out)
{
    int family;
    return address_ip_parse(text, out->ip, &family) && family == (int)wanted;
}

/* "TCP4 192.0.2.1 198.51.100.1 56324 25" */
static enum proxy_status read_v1_line(struct proxy_reader *r, struct vr_str line, struct proxy_header *out)
{
    struct vr_str word[5];
    out->version = 1;
    if (vr_str_equal(line, VR_STR("UNKNOWN")) || vr_str_starts(line, VR_STR("UNKNOWN ")))
        return PROXY_DONE; /* what stands behind it is to be ignored */
    if (vr_str_starts(line, VR_STR("TCP4 ")))
        out->family = PROXY_INET;
    else if (vr_str_starts(line, VR_STR("TCP6 ")))
        out->family = PROXY_INET6;
    else
        return bad(r, "version 1: the protocol is none of TCP4, TCP6 and UNKNOWN");
    for (size_t i = 0; i < 5; i++) {
        size_t blank = i < 4 ? vr_str_find(line, ' ') : line.n;
        if (blank == VR_NPOS)
            return bad(r, "version 1: two addresses and two ports were expected");
        word[i] = vr_str_sub(line, 0, blank);
        line = vr_str_from_pos(line, blank + 1);
    }
    if (!read_ip(word[1], out->family, &out->source) || !read_ip(word[2], out->family, &out->destination))
        return bad(r, "version 1: an address is not one of its family");
    if (!read_port(word[3], &out->source.port) || !read_port(word[4], &out->destination.port))
        return bad(r, "version 1: a port is not a number from 0 to 65535");
    return PROXY_DONE;
}

/* Called with each byte. */
static enum proxy_status look_at_v1(struct proxy_reader *r, struct proxy_header *out)
{
    struct vr_str text = vr_buf_str(&r->in);
    char last = text.p[text.n - 1];
    bool after_cr = text.n > 1 && text.p[text.n - 2] == '\r';
    if (text.n <= V1_WORD_N)
        return last == V1_WORD[text.n - 1] ? PROXY_MORE : bad(r, "it does not begin with a PROXY header");
    if (after_cr && last == '\n')
        return read_v1_line(r, vr_str_sub(text, V1_WORD_N, text.n - V1_WORD_N - 2), out);
    if (after_cr || (last != '\r' && (last < ' ' || last > '~')))
        return bad(r, "version 1: a byte that is not text");
    if (text.n == PROXY_V1_MAX)
        return bad(r, "version 1: no line end within 107 bytes");
    return PROXY_MORE;
}

/* ---- version 2 ------------------------------------------------------------------------------------------------- */

/* One of a list of TLVs, taken off *list. False when it does not fit. */
static bool next_tlv(struct vr_str *list, unsigned *type, struct vr_str *value)
{
    if (list->n < TLV_HEAD || list->n - TLV_HEAD < u16_at(*list, 1))
        return false;
    *type = byte_at(*list, 0);
    *value = vr_str_sub(*list, TLV_HEAD, u16_at(*list, 1));
    *list = vr_str_from_pos(*list, TLV_HEAD + value->n);
    return true;
}

static const char *const too_long = "version 2: a TLV is longer than what holds it";

static const char *read_ssl(struct vr_str value, struct proxy_header *out)
{
    enum { CLIENT_SSL = 1, CLIENT_CERT_CONN = 2, CLIENT_CERT_SESS = 4, FIXED = 5 };
    unsigned type;
    struct vr_str one;
    if (value.n < FIXED)
        return "version 2: the TLV about TLS is too short";
    unsigned client = byte_at(value, 0);
    bool verified = u16_at(value, 1) == 0 && u16_at(value, 3) == 0;
    out->tls = client & CLIENT_SSL;
    out->tls_verified = out->tls && (client & (CLIENT_CERT_CONN | CLIENT_CERT_SESS)) && verified;
    for (struct vr_str list = vr_str_from_pos(value, FIXED); list.n > 0;) {
        if (!next_tlv(&list, &type, &one))
            return too_long;
        if (type == TLV_SSL_VERSION)
            out->tls_version = one;
        else if (type == TLV_SSL_CN)
            out->tls_common_name = one;
        else if (type == TLV_SSL_CIPHER)
            out->tls_cipher = one;
    }
    return NULL;
}

/* Over the whole header, with zeros in the place of the sum itself. */
static const char *check_crc(struct vr_str header, struct vr_str value, struct proxy_header *out)
{
    if (value.n != 4)
        return "version 2: the checksum has not four bytes";
    if (out->checksummed)
        return "version 2: two checksums";
    size_t before = (size_t)(value.p - header.p);
    uint32_t crc = vr_crc32c(0, header.p, before);
    crc = vr_crc32c(crc, "\0\0\0", 4);
    crc = vr_crc32c(crc, value.p + 4, header.n - before - 4);
    if (crc != (uint32_t)(u16_at(value, 0) << 16 | u16_at(value, 2)))
        return "version 2: the checksum is wrong";
    out->checksummed = true;
    return NULL;
}

static const char *read_tlvs(struct vr_str header, size_t from, struct proxy_header *out)
{
    unsigned type;
    struct vr_str list = vr_str_from_pos(header, from), value;
    const char *why = NULL;
    while (list.n > 0 && why == NULL) {
        if (!next_tlv(&list, &type, &value))
            return too_long;
        if (type == TLV_CRC32C)
            why = check_crc(header, value, out);
        else if (type == TLV_SSL)
            why = read_ssl(value, out);
        else if (type == TLV_ALPN)
            out->alpn = value;
        else if (type == TLV_AUTHORITY)
            out->authority = value;
        else if (type == TLV_UNIQUE_ID && value.n > UNIQUE_ID_MAX)
            why = "version 2: the unique id is longer than 128 bytes";
        else if (type == TLV_UNIQUE_ID)
            out->unique_id = value;
    }
    return why;
}

static struct vr_str unix_path(struct vr_str field)
{
    return vr_str_sub(field, 0, vr_str_find(field, '\0'));
}

static enum proxy_status read_v2(struct proxy_reader *r, struct vr_str header, struct proxy_header *out)
{
    out->version = 2;
    out->local = (byte_at(header, VERSION_AT) & 15) == COMMAND_LOCAL;
    const struct family_row *f = &families[byte_at(header, FAMILY_AT) >> 4 & (FAMILY_COUNT - 1)];
    if (out->local || f->family == PROXY_UNKNOWN || (byte_at(header, FAMILY_AT) & 15) != TRANSPORT_STREAM)
        return PROXY_DONE; /* what stands behind is to be skipped: nobody can say where the addresses would end */
    out->family = f->family;
    struct vr_str source = vr_str_sub(header, PROXY_V2_FIXED, f->address_n);
    struct vr_str destination = vr_str_sub(header, PROXY_V2_FIXED + f->address_n, f->address_n);
    if (f->family == PROXY_UNIX) {
        out->source.path = unix_path(source);
        out->destination.path = unix_path(destination);
    } else {
        memcpy(out->source.ip, source.p, source.n);
        memcpy(out->destination.ip, destination.p, destination.n);
        out->source.port = (uint16_t)u16_at(header, PROXY_V2_FIXED + 2 * f->address_n);
        out->destination.port = (uint16_t)u16_at(header, PROXY_V2_FIXED + 2 * f->address_n + 2);
    }
    const char *why = read_tlvs(header, PROXY_V2_FIXED + f->block_n, out);
    return why != NULL ? bad(r, why) : PROXY_DONE;
}

/* The byte that says the family, and the one before it. */
static enum proxy_status check_family(struct proxy_reader *r, struct vr_str text)
{
    unsigned command = byte_at(text, VERSION_AT) & 15, family = byte_at(text, FAMILY_AT) >> 4,
             transport = byte_at(text, FAMILY_AT) & 15;
    if (command == COMMAND_LOCAL)
        return PROXY_MORE; /* its family is to be ignored */
    if (family >= FAMILY_COUNT)
        return bad(r, "version 2: the address family is not known");
    if (transport != TRANSPORT_STREAM && transport != TRANSPORT_UNSPEC)
        return bad(r, "version 2: the client's transport is not a stream");
    return PROXY_MORE;
}

static enum proxy_status check_length(struct proxy_reader *r, struct vr_str text)
{
    size_t announced = u16_at(text, LENGTH_AT);
    unsigned command = byte_at(text, VERSION_AT) & 15, transport = byte_at(text, FAMILY_AT) & 15;
    if (announced > r->v2_max)
        return bad(r, "version 2: the header is larger than what is taken here");
    if (command == COMMAND_PROXY && transport == TRANSPORT_STREAM &&
        announced < families[byte_at(text, FAMILY_AT) >> 4].block_n)
        return bad(r, "version 2: the header is too short for its addresses");
    return PROXY_MORE;
}

/* Called with each byte of the fixed part, and with what they announce as it comes. */
static enum proxy_status look_at_v2(struct proxy_reader *r, struct proxy_header *out)
{
    struct vr_str text = vr_buf_str(&r->in);
    enum proxy_status status = PROXY_MORE;
    if (text.n <= SIGNATURE_N && text.p[text.n - 1] != SIGNATURE[text.n - 1])
        return bad(r, "it does not begin with a PROXY header");
    if (text.n == VERSION_AT + 1 && byte_at(text, VERSION_AT) >> 4 != 2)
        return bad(r, "the version after the signature is not 2");
    if (text.n == VERSION_AT + 1 && (byte_at(text, VERSION_AT) & 15) > COMMAND_PROXY)
        return bad(r, "version 2: the command is neither LOCAL nor PROXY");
    if (text.n == FAMILY_AT + 1)
        return check_family(r, text);
    if (text.n == PROXY_V2_FIXED)
        status = check_length(r, text);
    if (status == PROXY_MORE && text.n >= PROXY_V2_FIXED &&
        text.n == PROXY_V2_FIXED + u16_at(text, LENGTH_AT))
        return read_v2(r, text, out);
    return status;
}

/* ---- both ------------------------------------------------------------------------------------------------------ */

/* How many more bytes belong to the header for certain. */
static size_t wanted(struct vr_str have)
{
    return have.n >= PROXY_V2_FIXED && have.p[0] == '\r' ? PROXY_V2_FIXED + u16_at(have, LENGTH_AT) - have.n
                                                         : 1;
}

enum proxy_status proxy_reader_feed(struct proxy_reader *r, struct vr_str in, size_t *taken,
                                    struct proxy_header *out)
{
    *taken = 0;
    *out = (struct proxy_header){0};
    while (r->status == PROXY_MORE && *taken < in.n) {
        struct vr_str piece = vr_str_sub(in, *taken, wanted(vr_buf_str(&r->in)));
        if (!vr_buf_add(&r->in, piece)) {
            r->status = bad(r, "the header is larger than what is taken here");
            break;
        }
        *taken += piece.n;
        r->status = vr_buf_str(&r->in).p[0] == '\r' ? look_at_v2(r, out) : look_at_v1(r, out);
    }
    return r->status;
}

/* ---- writing --------------------------------------------------------------------------------------------------- */

static void add_u16(struct vr_buf *out, size_t v)
{
    vr_buf_add_byte(out, (char)(v >> 8));
    vr_buf_add_byte(out, (char)v);
}

static void add_ip(struct vr_buf *out, const struct proxy_end *end, enum proxy_family family)
{
    if (family == PROXY_INET)
        vr_buf_addf(out, " %u.%u.%u.%u", end->ip[0], end->ip[1], end->ip[2], end->ip[3]);
    for (size_t i = 0; family == PROXY_INET6 && i < 16; i += 2)
        vr_buf_addf(out, "%c%x", i == 0 ? ' ' : ':', (unsigned)end->ip[i] << 8 | end->ip[i + 1]);
}

static enum vr_err write_v1(struct vr_buf *out, const struct proxy_header *h)
{
    if (h->local || h->family == PROXY_UNIX)
        return VR_ERR_UNSUPPORTED;
    if (h->family == PROXY_UNKNOWN) {
        vr_buf_add(out, VR_STR("PROXY UNKNOWN\r\n"));
        return out->too_big ? VR_ERR_TOO_BIG : VR_OK;
    }
    vr_buf_addf(out, "PROXY TCP%d", (int)h->family);
    add_ip(out, &h->source, h->family);
    add_ip(out, &h->destination, h->family);
    vr_buf_addf(out, " %u %u\r\n", h->source.port, h->destination.port);
    return out->too_big ? VR_ERR_TOO_BIG : VR_OK;
}

static void add_block(struct vr_buf *out, const struct proxy_header *h, const struct family_row *f)
{
    static const char zeros[PROXY_UNIX_PATH] = {0};
    const struct proxy_end *ends[] = {&h->source, &h->destination};
    for (size_t i = 0; i < 2; i++) {
        if (f->family == PROXY_UNIX) {
            vr_buf_add(out, ends[i]->path);
            vr_buf_add(out, vr_str(zeros, PROXY_UNIX_PATH - ends[i]->path.n));
        } else {
            vr_buf_add(out, vr_str((const char *)ends[i]->ip, f->address_n));
        }
    }
    if (f->family == PROXY_UNIX || f->family == PROXY_UNKNOWN)
        return;
    add_u16(out, h->source.port);
    add_u16(out, h->destination.port);
}

static void add_tlv(struct vr_buf *out, enum tlv_type type, struct vr_str value)
{
    if (value.n == 0)
        return;
    vr_buf_add_byte(out, (char)type);
    add_u16(out, value.n);
    vr_buf_add(out, value);
}

static enum vr_err write_v2(struct vr_buf *out, const struct proxy_header *h)
{
    size_t number = 0;
    while (!h->local && number < FAMILY_COUNT - 1 && families[number].family != h->family)
        number++;
    const struct family_row *f = &families[number];
    const struct {
        enum tlv_type type;
        struct vr_str value;
    } tlvs[] = {{TLV_AUTHORITY, h->authority},
                {TLV_ALPN, h->alpn},
                {TLV_UNIQUE_ID, h->unique_id},
                {TLV_CRC32C, h->checksummed ? vr_str("\0\0\0", 4) : vr_str(NULL, 0)}};
    size_t length = f->block_n;
    for (size_t i = 0; i < sizeof tlvs / sizeof *tlvs; i++)
        length += tlvs[i].value.n > 0 ? TLV_HEAD + tlvs[i].value.n : 0;
    if (length > UINT16_MAX || h->unique_id.n > UNIQUE_ID_MAX || h->source.path.n > PROXY_UNIX_PATH ||
        h->destination.path.n > PROXY_UNIX_PATH)
        return VR_ERR_TOO_BIG;
    size_t before = vr_buf_size(out);
    vr_buf_add(out, vr_str(SIGNATURE, SIGNATURE_N));
    vr_buf_add_byte(out, (char)(2 << 4 | (h->local ? COMMAND_LOCAL : COMMAND_PROXY)));
    vr_buf_add_byte(out, (char)(number << 4 | (number > 0 ? TRANSPORT_STREAM : TRANSPORT_UNSPEC)));
    add_u16(out, length);
    add_block(out, h, f);
    for (size_t i = 0; i < sizeof tlvs / sizeof *tlvs; i++)
        add_tlv(out, tlvs[i].type, tlvs[i].value);
    if (out->too_big)
        return VR_ERR_TOO_BIG;
    if (h->checksummed) { /* it stands last */
        struct vr_str all = vr_str_from_pos(vr_buf_str(out), before);
        uint32_t crc = vr_crc32c(0, all.p, all.n);
        for (size_t i = 0; i < 4; i++)
            ((char *)all.p)[all.n - 4 + i] = (char)(crc >> (24 - 8 * i));
    }
    return VR_OK;
}

enum vr_err proxy_write(struct vr_buf *out, const struct proxy_header *h)
{
    return h->version == 1 ? write_v1(out, h) : write_v2(out, h);
}
