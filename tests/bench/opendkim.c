/* opendkim.c - see opendkim.h. The library is used as its milter does: header fields, then the body in pieces, then the end.
 *
 * It is opened at run time, since it has functions whose names are ours too (dkim_verify).
 */
#include "opendkim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_OPENDKIM

#include <dlfcn.h>
#include <opendkim/dkim.h>

#define FUNCTIONS(X)                                                                                         \
    X(init)                                                                                                  \
    X(close) X(options) X(sign) X(verify) X(header) X(eoh) X(body) X(eom) X(getsighdr_d) X(free)
#define DECLARE(name) __typeof__(dkim_##name) *name;
#define LOAD(n)       *(void **)&o->call.n = symbol(o->library, "dkim_" #n);

struct opendkim {
    void *library;
    struct {
        FUNCTIONS(DECLARE)
    } call;
    DKIM_LIB *lib;
    char *pem;
    char path[256];
};

static void *symbol(void *library, const char *name)
{
    void *found = dlsym(library, name);
    assert(found != NULL);
    return found;
}

struct opendkim *opendkim_new(const char *pem, struct vr_str record)
{
    struct opendkim *o = calloc(1, sizeof *o);
    const char *folder = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    dkim_query_t from_file = DKIM_QUERY_FILE;
    assert(o != NULL);
    o->library = dlopen("libopendkim.so", RTLD_NOW | RTLD_LOCAL);
    if (o->library == NULL) {
        free(o);
        return NULL;
    }
    FUNCTIONS(LOAD)
    o->lib = o->call.init(NULL, NULL);
    o->pem = strdup(pem);
    assert(o->lib != NULL && o->pem != NULL);
    snprintf(o->path, sizeof o->path, "%.200s/bench-auth-XXXXXX", folder);
    int fd = mkstemp(o->path);
    FILE *f = fd >= 0 ? fdopen(fd, "w") : NULL;
    assert(f != NULL);
    fprintf(f, "s1._domainkey.example.com %.*s\n", VR_STR_ARG(record));
    fclose(f);
    bool good = o->call.options(o->lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD, &from_file,
                                sizeof from_file) == DKIM_STAT_OK &&
                o->call.options(o->lib, DKIM_OP_SETOPT, DKIM_OPTS_QUERYINFO, o->path, strlen(o->path)) ==
                    DKIM_STAT_OK;
    assert(good);
    return o;
}

void opendkim_free(struct opendkim *o)
{
    if (o == NULL)
        return;
    unlink(o->path);
    o->call.close(o->lib);
    dlclose(o->library);
    free(o->pem);
    free(o);
}

static void feed(struct opendkim *o, DKIM *d, struct vr_str m)
{
    size_t at = vr_str_find_str(m, VR_STR("\r\n\r\n")) + 2;
    struct vr_str header = vr_str_sub(m, 0, at), body = vr_str_from_pos(m, at + 2);
    while (header.n > 0) {
        size_t n = 0;
        do {
            n += vr_str_find_str(vr_str_from_pos(header, n), VR_STR("\r\n")) + 2;
        } while (n < header.n && (header.p[n] == ' ' || header.p[n] == '\t'));
        DKIM_STAT status = o->call.header(d, (u_char *)header.p, n - 2);
        assert(status == DKIM_STAT_OK);
        header = vr_str_from_pos(header, n);
    }
    DKIM_STAT status = o->call.eoh(d);
    assert(status == DKIM_STAT_OK);
    while (body.n > 0) {
        struct vr_str piece = vr_str_sub(body, 0, 65536);
        status = o->call.body(d, (u_char *)piece.p, piece.n);
        assert(status == DKIM_STAT_OK);
        body = vr_str_from_pos(body, piece.n);
    }
}

void opendkim_sign(struct opendkim *o, struct vr_str message)
{
    DKIM_STAT status;
    u_char *field;
    size_t n;
    DKIM *d = o->call.sign(o->lib, (u_char *)"bench", NULL, (dkim_sigkey_t)o->pem, (u_char *)"s1",
                           (u_char *)"example.com", DKIM_CANON_RELAXED, DKIM_CANON_RELAXED,
                           DKIM_SIGN_RSASHA256, -1, &status);
    assert(d != NULL);
    feed(o, d, message);
    status = o->call.eom(d, NULL);
    bool good = status == DKIM_STAT_OK && o->call.getsighdr_d(d, 0, &field, &n) == DKIM_STAT_OK && n > 0;
    assert(good);
    o->call.free(d);
}

void opendkim_verify(struct opendkim *o, struct vr_str message)
{
    DKIM_STAT status;
    bool test_key;
    DKIM *d = o->call.verify(o->lib, (u_char *)"bench", NULL, &status);
    assert(d != NULL);
    feed(o, d, message);
    status = o->call.eom(d, (_Bool *)&test_key);
    assert(status == DKIM_STAT_OK);
    o->call.free(d);
}

#else

struct opendkim *opendkim_new(const char *pem, struct vr_str record)
{
    (void)pem, (void)record;
    return NULL;
}

void opendkim_free(struct opendkim *o)
{
    (void)o;
}

void opendkim_sign(struct opendkim *o, struct vr_str message)
{
    (void)o, (void)message;
    assert(false);
}

void opendkim_verify(struct opendkim *o, struct vr_str message)
{
    (void)o, (void)message;
    assert(false);
}

#endif
