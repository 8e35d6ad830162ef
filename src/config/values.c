/* values.c - sizes, times, yes and no, and next hops, as a configuration writes them.
 *
 * Tests: tests/unit/config.c
 */
#include "config/load.h"

#include <veredus/address.h>
#include <veredus/idn.h>
#include <veredus/dsn.h>

struct unit {
    const char *name;
    uint64_t factor;
};

/* "50M": digits and one of the units; without a unit the first is meant. */
static bool number_with_unit(struct vr_str text, const struct unit *units, size_t n, uint64_t *out)
{
    size_t digits = 0;
    while (digits < text.n && text.p[digits] >= '0' && text.p[digits] <= '9')
        digits++;
    uint64_t value;
    if (!vr_str_to_u64(vr_str_sub(text, 0, digits), &value))
        return false;
    struct vr_str unit = vr_str_trim(vr_str_from_pos(text, digits));
    for (size_t i = 0; i < n; i++)
        if (vr_str_equal(unit, vr_str_from(units[i].name)))
            return !__builtin_mul_overflow(value, units[i].factor, out);
    return false;
}

bool value_size(struct vr_str text, uint64_t *bytes)
{
    static const struct unit units[] = {{"", 1},        {"K", 1 << 10}, {"k", 1 << 10}, {"M", 1 << 20},
                                        {"m", 1 << 20}, {"G", 1 << 30}, {"g", 1 << 30}};
    return number_with_unit(text, units, sizeof units / sizeof units[0], bytes);
}

bool value_time(struct vr_str text, int64_t *ms)
{
    static const struct unit units[] = {
        {"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}};
    uint64_t value;
    if (vr_str_equal(text, VR_STR("0")))
        value = 0; /* nothing needs no unit */
    else if (!number_with_unit(text, units, sizeof units / sizeof units[0], &value))
        return false;
    *ms = (int64_t)value;
    return value <= (uint64_t)INT64_MAX;
}

bool value_bool(struct vr_str text, bool *out)
{
    static const char *const yes[] = {"yes", "true", "on"}, *const no[] = {"no", "false", "off"};
    for (size_t i = 0; i < 3; i++) {
        if (vr_str_equal_nocase(text, vr_str_from(yes[i])))
            return *out = true, true;
        if (vr_str_equal_nocase(text, vr_str_from(no[i])))
            return *out = false, true;
    }
    return false;
}

/* "host", "host:port", "[::1]:port", "192.0.2.1:port". An IPv6 address keeps its brackets, an IPv4 one loses them. */
static const char *host_and_port(struct vr_arena *arena, struct vr_str text, uint16_t default_port,
                                 struct next_hop *out)
{
    struct vr_str host = text, port = vr_str(NULL, 0);
    size_t close = text.n && text.p[0] == '[' ? vr_str_find(text, ']') : 0;
    if (close == VR_NPOS)
        return "the host has a [ without a ]";
    size_t colon = vr_str_find(vr_str_from_pos(text, close), ':');
    if (colon != VR_NPOS) {
        host = vr_str_sub(text, 0, close + colon);
        port = vr_str_from_pos(text, close + colon + 1);
    } else if (close != 0 && close + 1 != text.n) {
        return "something other than a port follows the ]";
    }
    uint64_t number = default_port;
    if (colon != VR_NPOS && (!vr_str_to_u64(port, &number) || number < 1 || number > 65535))
        return "the port is not a number from 1 to 65535 (an IPv6 address stands in brackets: "
               "[2001:db8::1]:25)";
    if (close != 0) {
        host = vr_str_sub(text, 0, close + 1);
        struct io_address v4, v6;
        if (io_address_parse(vr_str_sub(text, 1, close - 1), 1, &v4) && v4.family == IO_INET)
            host = vr_str_sub(text, 1, close - 1);
        else if (!io_address_parse(host, 1, &v6) || v6.family != IO_INET6)
            return "the text in brackets is not an IP address";
    } else if (!address_domain_valid(host, ADDRESS_ALLOW_UTF8)) {
        return "the host is neither a name nor an IP address";
    }
    out->host = ascii_name(arena, host);
    out->port = (uint16_t)number;
    return NULL;
}

static const char *lmtp_hop(struct vr_arena *arena, struct vr_str rest, struct next_hop *out)
{
    if (!vr_str_starts(rest, VR_STR("unix:")))
        return host_and_port(arena, rest, 24, out);
    struct vr_str path = vr_str_from_pos(rest, 5);
    if (path.n == 0 || path.p[0] != '/')
        return "the path of a UNIX socket does not begin with /";
    if (path.n >= sizeof((struct io_address){0}).path)
        return "the path of a UNIX socket is longer than 107 bytes";
    out->host = must_dup(arena, path);
    out->port = 0;
    out->tls = NEXT_HOP_TLS_NONE;
    return NULL;
}

static const char *error_hop(struct vr_arena *arena, struct vr_str rest, struct next_hop *out)
{
    struct vr_str status;
    rest = vr_str_trim(rest);
    if (!dsn_status_find(rest, &status) || (rest.p[0] != '5' && rest.p[0] != '4'))
        return "the text does not begin with a status such as 5.7.1";
    if (vr_str_trim(vr_str_from_pos(rest, status.n)).n == 0)
        return "the status is not followed by a text";
    out->kind = NEXT_HOP_ERROR;
    out->host = must_dup(arena, rest);
    return NULL;
}

const char *value_next_hop(struct vr_arena *arena, struct vr_str text, struct next_hop *out)
{
    *out = (struct next_hop){.tls = NEXT_HOP_TLS_MAY, .route = UINT32_MAX, .domain = UINT32_MAX};
    if (vr_str_equal(text, VR_STR("mx"))) {
        out->kind = NEXT_HOP_MX;
        return NULL;
    }
    if (vr_str_starts(text, VR_STR("smtp:"))) {
        out->kind = NEXT_HOP_SMTP;
        return host_and_port(arena, vr_str_from_pos(text, 5), 25, out);
    }
    if (vr_str_starts(text, VR_STR("smtps:"))) {
        out->kind = NEXT_HOP_SMTP;
        out->tls = NEXT_HOP_TLS_IMPLICIT;
        return host_and_port(arena, vr_str_from_pos(text, 6), 465, out);
    }
    if (vr_str_starts(text, VR_STR("lmtp:"))) {
        out->kind = NEXT_HOP_LMTP;
        return lmtp_hop(arena, vr_str_from_pos(text, 5), out);
    }
    if (vr_str_starts(text, VR_STR("error:")))
        return error_hop(arena, vr_str_from_pos(text, 6), out);
    return "it names no way to deliver";
}
