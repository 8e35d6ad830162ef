/* archive.c - gzip (RFC 1952) and zip (its first file), with a bound on what comes out.
 *
 * zlib works in memory alone. A zip archive is read by its directory at the end, as every program reads it, so that two programs do not see two files.
 *
 * Tests: tests/unit/report.c
 */
#include "inside.h"

#include <veredus/report.h>

#include <string.h>
#include <zlib.h>

#define WINDOW     15
#define GZIP       16 /* added to the window: with gzip's header */
#define PIECE      65536u
#define IN_MAX     (1u << 30) /* zlib counts in unsigned int */
#define END_SIZE   22         /* of zip's end record, central header, local header, without their texts */
#define ENTRY_SIZE 46
#define LOCAL_SIZE 30

bool report_gzip(struct vr_buf *out, struct vr_str in)
{
    z_stream z = {0};
    if (in.n > IN_MAX ||
        deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, WINDOW + GZIP, 8, Z_DEFAULT_STRATEGY) != Z_OK)
        return false;
    gz_header header = {.os = 255};
    uLong bound = deflateBound(&z, (uLong)in.n) + 32;
    char *p = vr_buf_reserve(out, bound);
    bool good = p != NULL && deflateSetHeader(&z, &header) == Z_OK;
    z.next_in = (Bytef *)in.p;
    z.avail_in = (uInt)in.n;
    z.next_out = (Bytef *)p;
    z.avail_out = (uInt)bound;
    good = good && deflate(&z, Z_FINISH) == Z_STREAM_END;
    if (good)
        vr_buf_filled(out, z.total_out);
    deflateEnd(&z);
    return good;
}

/* window: as of inflateInit2. All members of a gzip file. */
static enum vr_err inflate_all(struct vr_buf *out, struct vr_str in, int window, const char **why)
{
    z_stream z = {.next_in = (Bytef *)in.p, .avail_in = (uInt)in.n};
    enum vr_err e = VR_OK;
    int status = Z_OK;
    *why = "the archive is damaged";
    if (in.n > IN_MAX || inflateInit2(&z, window) != Z_OK)
        return VR_ERR_TOO_BIG;
    while (e == VR_OK && status != Z_STREAM_END) {
        size_t room = out->max - vr_buf_size(out);
        char *p = vr_buf_reserve(out, room < PIECE ? room : PIECE);
        if (p == NULL || room == 0) {
            e = VR_ERR_TOO_BIG;
            break;
        }
        z.next_out = (Bytef *)p;
        z.avail_out = (uInt)(room < PIECE ? room : PIECE);
        uInt before = z.avail_out;
        status = inflate(&z, Z_NO_FLUSH);
        vr_buf_filled(out, before - z.avail_out);
        if (status == Z_STREAM_END && window > WINDOW && z.avail_in > 2 && z.next_in[0] == 0x1f &&
            z.next_in[1] == 0x8b)
            status = inflateReset(&z); /* another member */
        else if (status != Z_OK && status != Z_STREAM_END)
            e = VR_ERR_SYNTAX; /* also Z_BUF_ERROR: it ends too early */
    }
    inflateEnd(&z);
    if (e == VR_ERR_TOO_BIG)
        *why = "what is in the archive is larger than is read";
    return e;
}

static uint32_t number(struct vr_str s, size_t at, size_t octets)
{
    uint32_t out = 0;
    for (size_t i = octets; i > 0; i--)
        out = out << 8 | (unsigned char)s.p[at + i - 1];
    return out;
}

static bool has_mark(struct vr_str s, size_t at, const char *mark, size_t size)
{
    return at <= s.n && s.n - at >= size && memcmp(s.p + at, mark, 4) == 0;
}

/* The first entry of the directory that is a file. */
static bool zip_entry(struct vr_str in, size_t *at)
{
    size_t end = in.n >= END_SIZE ? in.n - END_SIZE : 0, last = end > 0xffff ? end - 0xffff : 0;
    while (!has_mark(in, end, "PK\5\6", END_SIZE)) {
        if (end == last)
            return false;
        end--;
    }
    *at = number(in, end + 16, 4);
    for (uint32_t n = number(in, end + 10, 2); n > 0 && has_mark(in, *at, "PK\1\2", ENTRY_SIZE); n--) {
        size_t name = number(in, *at + 28, 2);
        if (in.n - *at - ENTRY_SIZE < name)
            return false;
        if (name > 0 && in.p[*at + ENTRY_SIZE + name - 1] != '/')
            return true;
        *at += ENTRY_SIZE + name + number(in, *at + 30, 2) + number(in, *at + 32, 2);
    }
    return false;
}

static enum vr_err unzip(struct vr_buf *out, struct vr_str in, const char **why)
{
    size_t entry, before = vr_buf_size(out);
    *why = "the zip archive is damaged, or empty";
    if (!zip_entry(in, &entry))
        return VR_ERR_SYNTAX;
    size_t local = number(in, entry + 42, 4), packed = number(in, entry + 20, 4);
    uint32_t method = number(in, entry + 10, 2), crc = number(in, entry + 16, 4);
    if (!has_mark(in, local, "PK\3\4", LOCAL_SIZE))
        return VR_ERR_SYNTAX;
    size_t data = local + LOCAL_SIZE + number(in, local + 26, 2) + number(in, local + 28, 2);
    if (data > in.n || packed > in.n - data)
        return VR_ERR_SYNTAX;
    if ((number(in, entry + 8, 2) & 1) != 0 || (method != 0 && method != 8)) {
        *why = "the zip archive is encrypted, or packed in an unusual way";
        return VR_ERR_UNSUPPORTED;
    }
    struct vr_str content = vr_str_sub(in, data, packed);
    enum vr_err e = VR_OK;
    if (method == 8)
        e = inflate_all(out, content, -WINDOW, why);
    else if (!vr_buf_add(out, content)) {
        *why = "what is in the archive is larger than is read";
        e = VR_ERR_TOO_BIG;
    }
    struct vr_str got = vr_str_from_pos(vr_buf_str(out), before);
    if (e == VR_OK && crc32(0, (const Bytef *)got.p, (uInt)got.n) != crc)
        e = VR_ERR_SYNTAX;
    return e;
}

enum vr_err report_unpack(struct vr_buf *out, struct vr_str in, const char **why)
{
    if (vr_str_starts(in, VR_STR("\x1f\x8b")))
        return inflate_all(out, in, WINDOW + GZIP, why);
    if (vr_str_starts(in, VR_STR("PK\3\4")) || vr_str_starts(in, VR_STR("PK\5\6")))
        return unzip(out, in, why);
    *why = "it is larger than is read";
    return vr_buf_add(out, in) ? VR_OK : VR_ERR_TOO_BIG;
}
