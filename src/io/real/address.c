/* address.c - addresses and networks: text to binary and back. No name is ever resolved here.
 *
 * Text of IPv6: RFC 5952 (inet_ntop), brackets before a port as in RFC 3986 §3.2.2.
 * Tests: tests/unit/io_address.c
 */
#include "io/real/address.h"

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static const uint8_t mapped_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

/* ---- the kernel's form ----------------------------------------------------------------------------------- */

socklen_t address_to_sockaddr(const struct io_address *a, struct sockaddr_storage *out)
{
    memset(out, 0, sizeof *out);
    if (a->family == IO_INET) {
        struct sockaddr_in *in = (struct sockaddr_in *)out;
        in->sin_family = AF_INET;
        in->sin_port = htons(a->port);
        memcpy(&in->sin_addr, a->ip, 4);
        return sizeof *in;
    }
    if (a->family == IO_INET6) {
        struct sockaddr_in6 *in = (struct sockaddr_in6 *)out;
        in->sin6_family = AF_INET6;
        in->sin6_port = htons(a->port);
        in->sin6_scope_id = a->scope;
        memcpy(&in->sin6_addr, a->ip, 16);
        return sizeof *in;
    }
    struct sockaddr_un *un = (struct sockaddr_un *)out;
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, a->path, strnlen(a->path, sizeof a->path - 1));
    return sizeof *un;
}

void address_from_sockaddr(const struct sockaddr *sa, socklen_t n, struct io_address *out)
{
    memset(out, 0, sizeof *out);
    if (sa->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)sa;
        out->family = IO_INET;
        out->port = ntohs(in->sin_port);
        memcpy(out->ip, &in->sin_addr, 4);
    } else if (sa->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)sa;
        out->family = IO_INET6;
        out->port = ntohs(in->sin6_port);
        out->scope = in->sin6_scope_id;
        memcpy(out->ip, &in->sin6_addr, 16);
    } else if (sa->sa_family == AF_UNIX) {
        const struct sockaddr_un *un = (const struct sockaddr_un *)sa;
        out->family = IO_UNIX;
        size_t length =
            n > offsetof(struct sockaddr_un, sun_path) ? n - offsetof(struct sockaddr_un, sun_path) : 0;
        if (length > sizeof out->path - 1)
            length = sizeof out->path - 1;
        memcpy(out->path, un->sun_path, length);
    }
}

/* ---- parsing --------------------------------------------------------------------------------------------- */

/* inet_pton wants a C string; anything longer than an address is none. */
static bool parse_ip(struct vr_str text, struct io_address *out)
{
    char copy[INET6_ADDRSTRLEN + IF_NAMESIZE + 1];
    if (text.n == 0 || text.n >= sizeof copy || memchr(text.p, '\0', text.n) != NULL)
        return false;
    memcpy(copy, text.p, text.n);
    copy[text.n] = '\0';
    if (inet_pton(AF_INET, copy, out->ip) == 1) {
        out->family = IO_INET;
        return true;
    }
    char *zone = strchr(copy, '%'); /* RFC 4007 §11: fe80::1%eth0 */
    if (zone != NULL) {
        *zone++ = '\0';
        uint64_t number;
        out->scope = if_nametoindex(zone);
        if (out->scope == 0 && vr_str_to_u64(vr_str_from(zone), &number) && number <= UINT32_MAX)
            out->scope = (uint32_t)number;
        if (out->scope == 0)
            return false;
    }
    if (inet_pton(AF_INET6, copy, out->ip) != 1)
        return false;
    out->family = IO_INET6;
    return true;
}

static bool parse_port(struct vr_str text, uint16_t *out)
{
    uint64_t port;
    if (!vr_str_to_u64(text, &port) || port > UINT16_MAX)
        return false;
    *out = (uint16_t)port;
    return true;
}

static bool parse_unix(struct vr_str path, struct io_address *out)
{
    if (path.n == 0 || path.n >= sizeof out->path || memchr(path.p, '\0', path.n) != NULL)
        return false;
    memcpy(out->path, path.p, path.n);
    out->family = IO_UNIX;
    return true;
}

bool io_address_parse(struct vr_str text, uint16_t default_port, struct io_address *out)
{
    *out = (struct io_address){.port = default_port};
    if (vr_str_starts(text, VR_STR("unix:")))
        return parse_unix(vr_str_from_pos(text, 5), out);
    if (text.n == 0)
        return false;

    struct vr_str host, port = {NULL, 0};
    bool has_port;
    if (text.p[0] == '[') {
        size_t end = vr_str_find(text, ']');
        if (end == VR_NPOS)
            return false;
        host = vr_str_sub(text, 1, end - 1);
        struct vr_str rest = vr_str_from_pos(text, end + 1);
        has_port = rest.n > 0;
        if (has_port && rest.p[0] != ':')
            return false;
        port = vr_str_from_pos(rest, 1);
        if (vr_str_find(host, ':') == VR_NPOS)
            return false; /* brackets are for IPv6 */
    } else {
        size_t colon = vr_str_find_last(text, ':');
        /* Several colons and no brackets: an IPv6 address without a port. */
        has_port = colon != VR_NPOS && vr_str_find(text, ':') == colon;
        host = has_port ? vr_str_sub(text, 0, colon) : text;
        port = has_port ? vr_str_from_pos(text, colon + 1) : port;
    }
    if (has_port ? !parse_port(port, &out->port) : default_port == 0)
        return false;
    if (host.n == 0 || vr_str_equal(host, VR_STR("*"))) {
        out->family = IO_INET6;
        return host.n > 0 || has_port;
    }
    return parse_ip(host, out);
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static bool is_mapped(const struct io_address *a)
{
    return a->family == IO_INET6 && memcmp(a->ip, mapped_prefix, sizeof mapped_prefix) == 0;
}

void io_address_ip_text(const struct io_address *a, char out[IO_ADDRESS_TEXT])
{
    out[0] = '\0';
    if (a->family == IO_INET)
        inet_ntop(AF_INET, a->ip, out, IO_ADDRESS_TEXT);
    else if (is_mapped(a))
        inet_ntop(AF_INET, a->ip + 12, out, IO_ADDRESS_TEXT);
    else if (a->family == IO_INET6)
        inet_ntop(AF_INET6, a->ip, out, IO_ADDRESS_TEXT);
    else if (a->family == IO_UNIX)
        snprintf(out, IO_ADDRESS_TEXT, "unix");
}

void io_address_text(const struct io_address *a, char out[IO_ADDRESS_TEXT])
{
    char ip[IO_ADDRESS_TEXT];
    if (a->family == IO_UNIX) {
        snprintf(out, IO_ADDRESS_TEXT, "unix:%.*s", (int)sizeof a->path, a->path);
        return;
    }
    io_address_ip_text(a, ip);
    bool brackets = a->family == IO_INET6 && !is_mapped(a);
    snprintf(out, IO_ADDRESS_TEXT, "%s%.64s%s:%u", brackets ? "[" : "", ip, brackets ? "]" : "", a->port);
}

/* ---- networks -------------------------------------------------------------------------------------------- */

static bool bits_equal(const uint8_t *a, const uint8_t *b, unsigned bits)
{
    unsigned whole = bits / 8, rest = bits % 8;
    if (memcmp(a, b, whole) != 0)
        return false;
    return rest == 0 || ((a[whole] ^ b[whole]) >> (8 - rest)) == 0;
}

bool io_network_parse(struct vr_str text, struct io_network *out)
{
    struct io_address a = {0};
    size_t slash = vr_str_find(text, '/');
    struct vr_str ip = slash == VR_NPOS ? text : vr_str_sub(text, 0, slash);
    if (ip.n >= 2 && ip.p[0] == '[' && ip.p[ip.n - 1] == ']')
        ip = vr_str_sub(ip, 1, ip.n - 2);
    if (!parse_ip(ip, &a) || a.scope != 0)
        return false;
    uint64_t max = a.family == IO_INET6 ? 128 : 32, bits = max;
    if (slash != VR_NPOS && (!vr_str_to_u64(vr_str_from_pos(text, slash + 1), &bits) || bits > max))
        return false;
    *out = (struct io_network){.v6 = a.family == IO_INET6, .bits = (uint8_t)bits};
    memcpy(out->ip, a.ip, sizeof a.ip);
    if (is_mapped(&a) && bits >= 96) { /* ::ffff:10.0.0.0/104 is 10.0.0.0/8 */
        *out = (struct io_network){.bits = (uint8_t)(bits - 96)};
        memcpy(out->ip, a.ip + 12, 4);
    }
    return true;
}

bool io_network_contains(const struct io_network *net, const struct io_address *a)
{
    bool v4 = a->family == IO_INET || is_mapped(a);
    if (a->family != IO_INET && a->family != IO_INET6)
        return false;
    if (net->v6 == v4)
        return false;
    return bits_equal(net->ip, a->family == IO_INET6 && v4 ? a->ip + 12 : a->ip, net->bits);
}
