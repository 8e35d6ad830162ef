/* request.c - see request.h. */
#include "web/request.h"

size_t web_head_end(struct vr_str bytes, size_t from)
{
    size_t at = from > 3 ? from - 3 : 0; /* the empty line may have come in pieces */
    size_t found = vr_str_find_str(vr_str_from_pos(bytes, at), VR_STR("\r\n\r\n"));
    return found == VR_NPOS ? VR_NPOS : at + found + 4;
}

static bool is_token(struct vr_str s)
{
    static const char more[] = "!#$%&'*+-.^_`|~";
    for (size_t i = 0; i < s.n; i++) {
        char c = vr_lower(s.p[i]);
        bool plain = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
        if (!plain && vr_str_find(vr_str(more, sizeof more - 1), c) == VR_NPOS)
            return false;
    }
    return s.n > 0;
}

/* The next line, without its CRLF. False: it ends in something else. */
static bool next_line(struct vr_str *rest, struct vr_str *line)
{
    size_t n = vr_str_find(*rest, '\n');
    if (n == VR_NPOS || n == 0 || rest->p[n - 1] != '\r')
        return false;
    *line = vr_str_sub(*rest, 0, n - 1);
    *rest = vr_str_from_pos(*rest, n + 1);
    for (size_t i = 0; i < line->n; i++)
        if (((unsigned char)line->p[i] < ' ' && line->p[i] != '\t') || line->p[i] == 0x7f)
            return false;
    return true;
}

/* "name", "name:443"; an IPv6 address in brackets is no name of ours, whatever it is. */
static bool take_host(struct vr_str text, struct vr_str *out)
{
    size_t colon = vr_str_find(text, ':');
    uint64_t port;
    *out = colon == VR_NPOS ? text : vr_str_sub(text, 0, colon);
    for (size_t i = 0; i < out->n; i++)
        if (out->p[i] <= ' ' || vr_str_find(VR_STR("/?#@\\,"), out->p[i]) != VR_NPOS)
            return false;
    struct vr_str digits = vr_str_from_pos(text, out->n + 1);
    return colon == VR_NPOS || digits.n == 0 || text.p[0] == '[' ||
           (vr_str_to_u64(digits, &port) && port <= 65535); /* RFC 3986 §3.2.3: the port may be empty */
}

/* RFC 9112 §3.2: the target decides before the field Host. */
static unsigned take_target(struct vr_str target, struct web_request *out, bool *absolute)
{
    struct vr_str rest = target;
    *absolute = true;
    if (vr_str_starts_nocase(target, VR_STR("https://")))
        rest = vr_str_from_pos(target, 8);
    else if (vr_str_starts_nocase(target, VR_STR("http://")))
        rest = vr_str_from_pos(target, 7);
    else
        *absolute = false;
    size_t slash = vr_str_find(rest, '/');
    if (slash == VR_NPOS || (!*absolute && slash != 0))
        return 400;
    out->path = vr_str_from_pos(rest, slash);
    if (*absolute && (slash == 0 || !take_host(vr_str_sub(rest, 0, slash), &out->host)))
        return 400;
    return 0;
}

static unsigned take_request_line(struct vr_str line, struct web_request *out, bool *absolute, bool *old)
{
    struct vr_str method = {0}, target = {0}, rest = line;
    vr_str_split(&rest, ' ', &method);
    vr_str_split(&rest, ' ', &target);
    if (!is_token(method) || target.n == 0)
        return 400;
    *old = vr_str_equal(rest, VR_STR("HTTP/1.0"));
    if (!*old && !vr_str_equal(rest, VR_STR("HTTP/1.1")))
        return vr_str_starts(rest, VR_STR("HTTP/")) && vr_str_find(rest, ' ') == VR_NPOS ? 505 : 400;
    out->head = vr_str_equal(method, VR_STR("HEAD"));
    if (!out->head && !vr_str_equal(method, VR_STR("GET")))
        return 405;
    return take_target(target, out, absolute);
}

static unsigned take_fields(struct vr_str rest, struct web_request *out, bool absolute, bool old)
{
    struct vr_str line, host;
    size_t hosts = 0;
    while (next_line(&rest, &line) && line.n > 0) {
        size_t colon = vr_str_find(line, ':');
        if (colon == VR_NPOS || !is_token(vr_str_sub(line, 0, colon)))
            return 400;
        if (!vr_str_equal_nocase(vr_str_sub(line, 0, colon), VR_STR("Host")))
            continue;
        if (hosts++ > 0 || !take_host(vr_str_trim(vr_str_from_pos(line, colon + 1)), &host))
            return 400;
        if (!absolute)
            out->host = host;
    }
    if (rest.n > 0 || (hosts == 0 && !old)) /* a line that is none; RFC 9112 §3.2 */
        return 400;
    return 0;
}

void web_request_parse(struct vr_str head, struct web_request *out)
{
    struct vr_str rest = head, line;
    bool absolute = false, old = false;
    *out = (struct web_request){0};
    if (!next_line(&rest, &line)) {
        out->status = 400;
        return;
    }
    out->status = take_request_line(line, out, &absolute, &old);
    if (out->status == 0)
        out->status = take_fields(rest, out, absolute, old);
}
