/* tokens.c - see tokens.h.
 *
 * Promise:    a token reaches nobody but the configured endpoint, over verified HTTPS; it is in no event; of a token that was good only
 *             its SHA-256 is kept.
 * States:     asked -> signing [sign_start: on a worker thread] -> answered, or -> asking [endpoint_ask] -> answered
 * Sources:    RFC 7662 §2.1 (request), §2.2 (response), §4 (caching), RFC 6749 §2.3.1 (client's name and secret), appendix B.
 * Tests:      tests/unit/tokens.c, tests/e2e/test_accounts.py
 */
#include "keeper/tokens.h"

#include "io/fs.h"
#include "io/http.h"
#include "keeper/token_keys.h"

#include <assert.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#define KEY_FILE_MAX 65536
#define REQUEST_MAX  (4 * TOKEN_MAX)

struct cached {
    UT_hash_handle hh;
    uint8_t digest[SHA256_DIGEST_LENGTH];
    int64_t until_s;
    char account[CLAIMS_ACCOUNT_MAX];
};

struct tokens {
    struct process *process;
    const struct config_oauth *oauth;
    struct hashing *hashing;
    struct token_keys *keys;
    struct io_http *http;                   /* NULL: no endpoint */
    struct vr_buf client_id, client_secret; /* encoded, NUL-terminated; empty: none */
    struct cached *cache;
    size_t count;
};

struct tokens_check {
    struct hashing_job job; /* first */
    struct tokens *tokens;
    struct io_http_call *call;
    struct tokens_check **handle; /* NULL: cancelled */
    void (*answered)(void *arg, enum tokens_verdict v, struct vr_str account, const char *why);
    void *arg;
    /* of the worker thread while the job runs */
    const struct token_keys *keys;
    enum token_signature signature;
    struct vr_buf claims;
    char why[256];
    uint8_t digest[SHA256_DIGEST_LENGTH];
    size_t n;
    char token[];
};

/* ---- what is read before the confinement ------------------------------------------------------------------------- */

static bool read_whole(const char *path, struct vr_buf *out, char error[256])
{
    vr_buf_init(out, KEY_FILE_MAX);
    int status = io_fs_read_file(path, out);
    if (status < 0)
        snprintf(error, 256, "cannot read %.180s: %s", path, io_error_text(status));
    return status >= 0;
}

static void wipe(struct vr_buf *b)
{
    if (b->p != NULL)
        explicit_bzero(b->p, b->capacity);
    vr_buf_fini(b);
}

static struct vr_str first_line(const struct vr_buf *text)
{
    struct vr_str rest = vr_buf_str(text), line = {0};
    vr_str_split(&rest, '\n', &line);
    return vr_str_trim(line);
}

static bool keys_read(struct tokens *t, char error[256])
{
    bool good = true;
    char what[256];
    struct vr_buf text;
    t->keys = token_keys_new();
    for (const char **path = t->oauth->jwt_keys; good && path != NULL && *path != NULL; path++) {
        good = read_whole(*path, &text, error);
        if (good && !(good = token_keys_add_pem(t->keys, vr_buf_str(&text), what)))
            snprintf(error, 256, "%.100s holds %.140s", *path, what);
        wipe(&text);
    }
    if (good && t->oauth->jwt_secret_file != NULL) {
        good = read_whole(t->oauth->jwt_secret_file, &text, error);
        if (good && !(good = token_keys_add_secret(t->keys, first_line(&text), what)))
            snprintf(error, 256, "%.120s: %.120s", t->oauth->jwt_secret_file, what);
        wipe(&text);
    }
    return good;
}

/* application/x-www-form-urlencoded (RFC 6749 appendix B). */
static void put_encoded(struct vr_buf *out, struct vr_str s)
{
    for (size_t i = 0; i < s.n; i++) {
        char c = vr_lower(s.p[i]);
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (c != '\0' && strchr("-._*", c) != NULL))
            vr_buf_add_byte(out, s.p[i]);
        else if (c == ' ')
            vr_buf_add_byte(out, '+');
        else
            vr_buf_addf(out, "%%%02X", (unsigned)(unsigned char)s.p[i]);
    }
}

static bool client_read(struct tokens *t, char error[256])
{
    struct vr_buf text;
    if (t->oauth->client_secret_file == NULL)
        return true;
    bool good = read_whole(t->oauth->client_secret_file, &text, error);
    if (good && first_line(&text).n == 0) {
        snprintf(error, 256, "the first line of %.180s is empty; expected the client's secret",
                 t->oauth->client_secret_file);
        good = false;
    }
    put_encoded(&t->client_id, t->oauth->client_id);
    put_encoded(&t->client_secret, good ? first_line(&text) : VR_STR(""));
    vr_buf_add_byte(&t->client_id, '\0');
    vr_buf_add_byte(&t->client_secret, '\0');
    wipe(&text);
    return good;
}

struct tokens *tokens_new(struct process *p, struct hashing *hashing, char error[256])
{
    struct tokens *t = calloc(1, sizeof *t);
    assert(t != NULL);
    t->process = p;
    t->oauth = &p->config->oauth;
    t->hashing = hashing;
    vr_buf_init(&t->client_id, 4 * KEY_FILE_MAX);
    vr_buf_init(&t->client_secret, 4 * KEY_FILE_MAX);
    bool good = keys_read(t, error) && client_read(t, error);
    if (good && t->oauth->introspection != NULL) {
        t->http = io_http_new(p->io, t->oauth->ca_file, error);
        good = t->http != NULL;
    }
    return good ? t : NULL; /* the process ends now */
}

bool tokens_idle(const struct tokens *t)
{
    return t->count == 0;
}

/* ---- what the endpoint said a moment ago --------------------------------------------------------------------------- */

static int64_t now_s(const struct tokens *t)
{
    return io_now_us(t->process->io) / 1000000;
}

static void cache_clear(struct tokens *t)
{
    struct cached *c, *next;
    HASH_ITER(hh, t->cache, c, next)
    {
        HASH_DEL(t->cache, c);
        free(c);
    }
}

static const struct cached *cache_find(struct tokens *t, const uint8_t digest[SHA256_DIGEST_LENGTH])
{
    struct cached *c = NULL;
    HASH_FIND(hh, t->cache, digest, SHA256_DIGEST_LENGTH, c);
    if (c == NULL || c->until_s > now_s(t))
        return c;
    HASH_DEL(t->cache, c);
    free(c);
    return NULL;
}

/* Until the token expires, and no longer than is configured. */
static void cache_add(struct tokens *t, const uint8_t digest[SHA256_DIGEST_LENGTH],
                      const struct claims *claims)
{
    int64_t until = now_s(t) + t->oauth->cache / 1000;
    if (until > claims->expires_s)
        until = claims->expires_s;
    if (until <= now_s(t) || cache_find(t, digest) != NULL)
        return;
    if (HASH_COUNT(t->cache) >= TOKENS_CACHED_MAX)
        cache_clear(t);
    struct cached *c = calloc(1, sizeof *c);
    assert(c != NULL);
    memcpy(c->digest, digest, sizeof c->digest);
    memcpy(c->account, claims->account, sizeof c->account);
    c->until_s = until;
    HASH_ADD(hh, t->cache, digest, sizeof c->digest, c);
}

/* ---- the end of a check -------------------------------------------------------------------------------------------- */

static void check_free(struct tokens_check *c)
{
    c->tokens->count--;
    if (c->claims.p != NULL)
        explicit_bzero(c->claims.p, c->claims.capacity);
    vr_buf_fini(&c->claims);
    explicit_bzero(c->token, c->n);
    free(c);
}

static void finish(struct tokens_check *c, enum tokens_verdict v, const char *account, const char *why)
{
    *c->handle = NULL;
    c->answered(c->arg, v, vr_str_from(account), why);
    check_free(c);
}

/* What was said of the token by somebody whom we believe. */
static void judge(struct tokens_check *c, struct vr_str json, bool introspection)
{
    struct tokens *t = c->tokens;
    struct claims claims;
    char why[256];
    enum claims_verdict v = claims_check(t->oauth, json, introspection, now_s(t), &claims, why);
    if (v == CLAIMS_GOOD && introspection)
        cache_add(t, c->digest, &claims);
    if (v == CLAIMS_GOOD)
        finish(c, TOKENS_GOOD, claims.account, "");
    else if (v == CLAIMS_BAD || !introspection)
        finish(c, TOKENS_BAD, "", why);
    else
        finish(c, TOKENS_TROUBLE, "", why);
}

/* ---- the endpoint -------------------------------------------------------------------------------------------------- */

static void endpoint_answered(void *arg, const struct io_http_answer *a)
{
    struct tokens_check *c = arg;
    char why[256];
    c->call = NULL;
    if (a->status == 200) {
        judge(c, a->body, true);
        return;
    }
    if (a->status == 401 || a->status == 403) /* RFC 7662 §2.3: that is us, not the user */
        snprintf(why, sizeof why,
                 "the endpoint refuses this server (HTTP %u): look at client_id and its secret", a->status);
    else if (a->status != 0)
        snprintf(why, sizeof why, "the endpoint answers with HTTP %u", a->status);
    else
        snprintf(why, sizeof why, "the endpoint cannot be asked: %.200s", a->error);
    finish(c, TOKENS_TROUBLE, "", why);
}

static bool endpoint_ask(struct tokens_check *c)
{
    struct tokens *t = c->tokens;
    struct vr_buf body;
    vr_buf_init(&body, REQUEST_MAX);
    vr_buf_add(&body, VR_STR("token_type_hint=access_token&token="));
    put_encoded(&body, vr_str(c->token, c->n));
    struct io_http_request r = {.url = t->oauth->introspection,
                                .body = vr_buf_str(&body),
                                .content_type = "application/x-www-form-urlencoded",
                                .timeout_ms = t->oauth->timeout,
                                .answer_max = TOKENS_ANSWER_MAX};
    if (vr_buf_size(&t->client_secret) > 0) {
        r.user = vr_buf_str(&t->client_id).p;
        r.password = vr_buf_str(&t->client_secret).p;
    }
    c->call = body.too_big ? NULL : io_http_ask(t->http, &r, endpoint_answered, c);
    wipe(&body);
    return c->call != NULL;
}

static void cache_or_endpoint(struct tokens_check *c)
{
    const struct cached *known = cache_find(c->tokens, c->digest);
    if (known != NULL)
        finish(c, TOKENS_GOOD, known->account, "");
    else if (!endpoint_ask(c))
        finish(c, TOKENS_TROUBLE, "", "too many questions to the endpoint at a time");
}

/* ---- signatures ---------------------------------------------------------------------------------------------------- */

static void sign_work(struct hashing_job *job)
{
    struct tokens_check *c = (struct tokens_check *)job;
    c->signature = token_verify(c->keys, vr_str(c->token, c->n), &c->claims, c->why);
}

static void sign_done(struct hashing_job *job)
{
    struct tokens_check *c = (struct tokens_check *)job;
    if (c->job.abandoned)
        check_free(c);
    else if (c->signature == SIGNATURE_GOOD)
        judge(c, vr_buf_str(&c->claims), false);
    else if (c->tokens->http != NULL)
        cache_or_endpoint(c);
    else
        finish(c, TOKENS_BAD, "", c->why);
}

/* ---- asking -------------------------------------------------------------------------------------------------------- */

void tokens_ask(struct tokens *t, struct vr_str token, struct tokens_check **handle,
                void (*answered)(void *arg, enum tokens_verdict v, struct vr_str account, const char *why),
                void *arg)
{
    struct tokens_check *c = calloc(1, sizeof *c + token.n);
    assert(c != NULL);
    *c = (struct tokens_check){
        .tokens = t, .handle = handle, .answered = answered, .arg = arg, .keys = t->keys, .n = token.n};
    c->job = (struct hashing_job){.work = sign_work, .done = sign_done};
    memcpy(c->token, token.n > 0 ? token.p : "", token.n);
    vr_buf_init(&c->claims, TOKEN_MAX);
    SHA256((const unsigned char *)c->token, c->n, c->digest);
    t->count++;
    *handle = c;
    if (token.n == 0 || token.n > TOKEN_MAX)
        finish(c, TOKENS_BAD, "", "the token is empty or too long");
    else if (token_keys_count(t->keys) == 0)
        cache_or_endpoint(c);
    else if (!hashing_submit(t->hashing, &c->job))
        finish(c, TOKENS_TROUBLE, "", "too many log-ins at a time");
}

void tokens_cancel(struct tokens_check *c)
{
    if (c == NULL)
        return;
    if (c->call == NULL) {
        c->job.abandoned = true; /* it ends with its work */
        return;
    }
    io_http_cancel(c->call);
    check_free(c);
}
