/* smtp_client_play.h - runs written dialogues between a server and the client engine; for the smtp_client*.c only.
 *
 * A dialogue is text, one step a line:
 *     S:text      the server says text CRLF                  C:text     the engine must have said exactly this line
 *     E:event     the next event, as event_text() writes it  !verb …    what the owner does (see owner_verbs)
 *     @word       configuration                              #          a remark
 * Each dialogue is run four ways: line by line, byte by byte, all lines of a run of S at once, and line by line with a trace, which must
 * change nothing but REPLY events.
 */
#ifndef TESTS_SMTP_CLIENT_PLAY_H
#define TESTS_SMTP_CLIENT_PLAY_H

#include <veredus/smtp_client.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define LINE       512
#define EVENTS_MAX 64
#define RCPTS_MAX  8

enum way { WAY_LINES, WAY_BYTES, WAY_RUNS, WAY_TRACE, WAY_COUNT };

struct play {
    struct smtp_client_config config;
    bool bound; /* there is channel binding data, once TLS stands */
    struct smtp_client *client;
    enum way way;
    int64_t now;
    char events[EVENTS_MAX][LINE];
    size_t event_first, event_last;
    struct smtp_mail mail;
    struct smtp_rcpt rcpts[RCPTS_MAX];
    struct vr_buf said; /* a run of S lines that waits */
    bool over;
    const char *where; /* the step, for messages */
};

/* ---- events as text ----------------------------------------------------------------------------------------------- */

static const char *const kinds[] = {"IDLE",   "STARTTLS", "READY", "RCPT",   "BODY",
                                    "RESULT", "ANSWER",   "REPLY", "FAILED", "CLOSED"};

/* KIND [index] [code enhanced "command" text]; * stands for all recipients; FAILED ends in ! when permanent, ? after the dot */
static inline void event_text(char *out, enum smtp_client_event_kind kind, const struct smtp_client_event *ev)
{
    char index[24] = "", verdict[LINE - 64] = "";
    bool told = kind == SMTP_CLIENT_RCPT_RESULT || kind == SMTP_CLIENT_RESULT;
    if (told && ev->index == SIZE_MAX)
        snprintf(index, sizeof index, " *");
    else if (told)
        snprintf(index, sizeof index, " %zu", ev->index);
    if (told || kind == SMTP_CLIENT_ANSWER || kind == SMTP_CLIENT_FAILED)
        snprintf(verdict, sizeof verdict, " %u %.*s \"%s\" %.*s%s%s", ev->code,
                 ev->enhanced.n > 0 ? (int)ev->enhanced.n : 1, ev->enhanced.n > 0 ? ev->enhanced.p : "-",
                 ev->command, (int)(ev->text.n < 300 ? ev->text.n : 300), ev->text.n > 0 ? ev->text.p : "",
                 ev->permanent ? "!" : "", ev->sent_dot ? "?" : "");
    snprintf(out, LINE, "%s%s%s", kinds[kind], index, verdict);
    for (char *p = out; *p != '\0'; p++)
        if (*p == '\n')
            *p = '|';
}

static inline void pump(struct play *p)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    while ((kind = smtp_client_next(p->client, &ev)) != SMTP_CLIENT_IDLE) {
        if (kind == SMTP_CLIENT_REPLY) {
            assert_int_equal(p->way, WAY_TRACE);
            assert_non_null(ev.command);
            assert_true(ev.code >= 200 && ev.code < 600);
            continue;
        }
        assert_true(p->event_last < EVENTS_MAX);
        assert_false(p->over); /* FAILED and CLOSED are the last */
        p->over = kind == SMTP_CLIENT_FAILED || kind == SMTP_CLIENT_CLOSED;
        event_text(p->events[p->event_last++], kind, &ev);
    }
}

static inline void feed(struct play *p, struct vr_str bytes)
{
    if (p->way != WAY_BYTES) {
        smtp_client_feed(p->client, bytes, p->now);
        pump(p);
        return;
    }
    for (size_t i = 0; i < bytes.n; i++) {
        char byte = bytes.p[i]; /* a copy, so that a kept pointer would be seen */
        smtp_client_feed(p->client, vr_str(&byte, 1), p->now);
        pump(p);
    }
}

static inline void say_run(struct play *p)
{
    if (vr_buf_size(&p->said) == 0)
        return;
    feed(p, vr_buf_str(&p->said));
    vr_buf_reset(&p->said);
}

/* ---- what the owner does ------------------------------------------------------------------------------------------ */

/* "\r\n" and "\xNN" undone */
static inline struct vr_str unescape(char *s)
{
    char *out = s;
    for (const char *in = s; *in != '\0';) {
        if (in[0] == '\\' && (in[1] == 'r' || in[1] == 'n')) {
            *out++ = in[1] == 'r' ? '\r' : '\n';
            in += 2;
        } else if (in[0] == '\\' && in[1] == 'x') {
            char hex[3] = {in[2], in[3], '\0'};
            *out++ = (char)strtol(hex, NULL, 16);
            in += 4;
        } else {
            *out++ = *in++;
        }
    }
    return vr_str(s, (size_t)(out - s));
}

/* "mail N [word…]": from a@client.example to r0@server.example … */
static inline void do_mail(struct play *p, char *argument)
{
    static const char *const names[RCPTS_MAX] = {"r0", "r1", "r2", "r3", "r4", "r5", "r6", "r7"};
    size_t n = (size_t)(argument[0] - '0');
    assert_true(n >= 1 && n <= RCPTS_MAX);
    p->mail = (struct smtp_mail){.reverse_path = {VR_STR("a"), VR_STR("client.example"), false, false}};
    for (size_t i = 0; i < n; i++)
        p->rcpts[i] = (struct smtp_rcpt){
            .forward_path = {vr_str_from(names[i]), VR_STR("server.example"), false, false}};
    if (strstr(argument, "null") != NULL)
        p->mail.reverse_path = (struct address){.null = true};
    if (strstr(argument, "size") != NULL)
        p->mail.size = 5000;
    if (strstr(argument, "two chunks") != NULL)
        p->mail.size = 140000;
    if (strstr(argument, "8bit") != NULL)
        p->mail.body = SMTP_BODY_8BITMIME;
    if (strstr(argument, "binary") != NULL)
        p->mail.body = SMTP_BODY_BINARYMIME;
    if (strstr(argument, "urgent") != NULL)
        p->mail.priority = 4;
    if (strstr(argument, "bulk") != NULL)
        p->mail.priority = -9;
    if (strstr(argument, "auth") != NULL)
        p->mail.auth = VR_STR("<>");
    if (strstr(argument, "asks") != NULL) { /* all that further extensions carry */
        p->mail.require_tls = p->mail.by_trace = true;
        p->mail.by = SMTP_BY_RETURN;
        p->mail.by_seconds = 60;
        p->mail.hold_for = 3600;
        p->mail.solicit = VR_STR("org.example:ADV");
        p->rcpts[0].rrvs = SMTP_RRVS_REJECT;
        p->rcpts[0].valid_since = 1396566060;
    }
    if (strstr(argument, "late") != NULL) {
        p->mail.by = SMTP_BY_NOTIFY;
        p->mail.by_seconds = -7;
        p->mail.hold_until = 1798704000;
        p->rcpts[0].rrvs = SMTP_RRVS_CONTINUE;
        p->rcpts[0].valid_since = 0;
    }
    if (strstr(argument, "dsn") != NULL) {
        p->mail.ret = DSN_RET_HDRS;
        p->mail.envid = VR_STR("QQ314159");
        p->rcpts[0].notify = DSN_NOTIFY_SUCCESS | DSN_NOTIFY_DELAY;
        p->rcpts[0].orcpt = VR_STR("rfc822;r0@server.example");
    }
    if (strstr(argument, "badenvid") != NULL)
        p->mail.envid = VR_STR("Q\r\nRCPT TO:<x>");
    if (strstr(argument, "bad1") != NULL)
        p->rcpts[1].forward_path.local = VR_STR("r1>\r\nRSET\r\n");
    if (strstr(argument, "utf0") != NULL)
        p->rcpts[0].forward_path.local = VR_STR("j\xc3\xb6rg");
    if (strstr(argument, "idn0") != NULL)
        p->rcpts[0].forward_path.domain = VR_STR("bücher.example");
    if (strstr(argument, "noidn0") != NULL)
        p->rcpts[0].forward_path.domain = VR_STR("i❤.example");
    if (strstr(argument, "latin0") != NULL)
        p->rcpts[0].forward_path.local = VR_STR("j\xf6rg");
    if (strstr(argument, "utffrom") != NULL)
        p->mail.reverse_path.local = VR_STR("jörg");
    if (strstr(argument, "idnfrom") != NULL)
        p->mail.reverse_path.domain = VR_STR("bücher.example");
    if (strstr(argument, "utfheader") != NULL)
        p->mail.utf8 = true;
    if (strstr(argument, "utforcpt") != NULL)
        p->rcpts[0].orcpt = VR_STR("utf-8;jörg@bücher.example");
    if (strstr(argument, "badfrom") != NULL)
        p->mail.reverse_path.domain = VR_STR("x\ny");
    if (strstr(argument, "quoted") != NULL)
        p->rcpts[0].forward_path.local = VR_STR("a \"b\"");
    smtp_client_mail(p->client, &p->mail, p->rcpts, n, p->now);
}

static inline void do_body(struct play *p, char *argument)
{
    struct vr_str text = unescape(argument);
    if (p->way != WAY_BYTES) {
        smtp_client_body(p->client, text, p->now);
        return;
    }
    for (size_t i = 0; i < text.n; i++)
        smtp_client_body(p->client, vr_str_sub(text, i, 1), p->now);
}

/* "fill N": a piece of so many bytes, in lines */
static inline void do_fill(struct play *p, char *argument)
{
    static char text[200000];
    for (size_t i = 0; i < sizeof text; i++)
        text[i] = i % 64 == 62 ? '\r' : i % 64 == 63 ? '\n' : 'x';
    smtp_client_body(p->client, vr_str(text + 64 - atoi(argument) % 64, (size_t)atoi(argument)), p->now);
}

static inline void do_end(struct play *p, char *argument)
{
    (void)argument;
    smtp_client_body_end(p->client, p->now);
}

static inline void do_secured(struct play *p, char *argument)
{
    (void)argument;
    smtp_client_secured(p->client, p->now);
}

static inline void do_quit(struct play *p, char *argument)
{
    (void)argument;
    smtp_client_quit(p->client, p->now);
}

/* "-" in front: it is refused. */
static inline void do_ask(struct play *p, char *argument)
{
    bool refused = argument[0] == '-';
    assert_int_equal(smtp_client_ask(p->client, vr_str_from(argument + refused), p->now), !refused);
}

static inline void do_eof(struct play *p, char *argument)
{
    (void)argument;
    smtp_client_eof(p->client);
}

/* "tick MILLISECONDS": the deadline must be that far, and is passed. "tick never" */
static inline void do_tick(struct play *p, char *argument)
{
    int64_t deadline = smtp_client_deadline(p->client);
    if (strcmp(argument, "never") == 0) {
        assert_int_equal(deadline, INT64_MAX);
        return;
    }
    assert_int_equal(deadline, p->now + atoll(argument));
    smtp_client_tick(p->client, deadline - 1);
    pump(p);
    smtp_client_tick(p->client, deadline);
}

/* Raw bytes, no line end added. */
static inline void do_raw(struct play *p, char *argument)
{
    feed(p, unescape(argument));
}

static inline void do_offers(struct play *p, char *argument)
{
    char got[64];
    snprintf(got, sizeof got, "%u %llu", smtp_client_offers(p->client),
             (unsigned long long)smtp_client_limits(p->client)->size);
    assert_string_equal(got, argument);
}

/* "limits SIZE MAILMAX RCPTMAX RCPTDOMAINMAX BY": what the EHLO reply said behind its keywords */
static inline void do_limits(struct play *p, char *argument)
{
    const struct smtp_client_limits *l = smtp_client_limits(p->client);
    char got[128];
    snprintf(got, sizeof got, "%llu %llu %llu %llu %llu", (unsigned long long)l->size,
             (unsigned long long)l->mail_max, (unsigned long long)l->rcpt_max,
             (unsigned long long)l->rcpt_domain_max, (unsigned long long)l->deliver_by_min);
    assert_string_equal(got, argument);
}

/* "pending N held M" */
static inline void do_pending(struct play *p, char *argument)
{
    char got[64];
    snprintf(got, sizeof got, "%zu held %zu", smtp_client_pending(p->client).n, smtp_client_held(p->client));
    assert_string_equal(got, argument);
}

/* Tells the engine that n bytes were sent, without looking at them. */
static inline void do_sent(struct play *p, char *argument)
{
    smtp_client_sent(p->client, (size_t)atoi(argument));
}

static const struct {
    const char *name;
    void (*run)(struct play *p, char *argument);
} owner_verbs[] = {{"mail", do_mail},       {"body", do_body},     {"end", do_end},   {"secured", do_secured},
                   {"quit", do_quit},       {"eof", do_eof},       {"tick", do_tick}, {"raw", do_raw},
                   {"offers", do_offers},   {"limits", do_limits}, {"sent", do_sent}, {"fill", do_fill},
                   {"pending", do_pending}, {"ask", do_ask}};

static inline void owner_does(struct play *p, char *line)
{
    char *blank = strchr(line, ' ');
    char none[1] = "";
    if (blank != NULL)
        *blank = '\0';
    for (size_t i = 0; i < sizeof owner_verbs / sizeof *owner_verbs; i++)
        if (strcmp(line, owner_verbs[i].name) == 0) {
            owner_verbs[i].run(p, blank != NULL ? blank + 1 : none);
            pump(p);
            return;
        }
    fail_msg("no such step: %s", line);
}

static inline void bind_channel(struct play *p)
{
    struct sasl_binding b = {.tls_exporter = VR_STR("exported"), .tls_server_end_point = VR_STR("hash")};
    if (p->bound)
        smtp_client_binding(p->client, &b);
}

static inline void configure(struct play *p, const char *word)
{
    struct smtp_client_config *c = &p->config;
    if (strcmp(word, "lmtp") == 0)
        c->lmtp = true;
    else if (strcmp(word, "may") == 0)
        c->tls = SMTP_CLIENT_TLS_MAY;
    else if (strcmp(word, "must") == 0)
        c->tls = SMTP_CLIENT_TLS_MUST;
    else if (strcmp(word, "tls") == 0)
        c->tls_active = true;
    else if (strcmp(word, "clear") == 0)
        c->auth_in_clear = true;
    else if (strcmp(word, "login") == 0)
        c->auth_mechanism = VR_STR("LOGIN");
    else if (strcmp(word, "external") == 0)
        c->auth_mechanism = VR_STR("EXTERNAL");
    else if (strcmp(word, "chunking") == 0)
        c->chunking = true;
    else if (strcmp(word, "user") == 0)
        c->user = VR_STR("user"), c->password = VR_STR("pencil");
    else if (strcmp(word, "name") == 0)
        c->user = VR_STR("user");
    else if (strcmp(word, "token") == 0)
        c->token = VR_STR("ya29.t");
    else if (strcmp(word, "host") == 0)
        c->auth_host = VR_STR("h.test"), c->auth_port = 587;
    else if (strcmp(word, "certificate") == 0)
        c->certificate = true;
    else if (strcmp(word, "scram") == 0)
        c->auth_mechanism = VR_STR("scram-sha-256");
    else if (strcmp(word, "bound") == 0)
        p->bound = true;
    else
        fail_msg("no such configuration: %s", word);
}

/* ---- a run -------------------------------------------------------------------------------------------------------- */

static inline void client_must_have_said(struct play *p, const char *line)
{
    struct vr_str pending = smtp_client_pending(p->client), wanted = vr_str_from(line);
    size_t end = vr_str_find_str(pending, VR_STR("\r\n"));
    if (end == VR_NPOS || !vr_str_equal(vr_str_sub(pending, 0, end), wanted))
        fail_msg("%s\nwanted C:%s\ngot      %.*s", p->where, line, VR_STR_ARG(pending));
    smtp_client_sent(p->client, end + 2);
}

static inline void event_must_be(struct play *p, const char *wanted)
{
    if (p->event_first == p->event_last)
        fail_msg("%s\nwanted E:%s\ngot no event", p->where, wanted);
    if (strcmp(p->events[p->event_first], wanted) != 0)
        fail_msg("%s\nwanted E:%s\ngot    E:%s", p->where, wanted, p->events[p->event_first]);
    p->event_first++;
}

static inline void step(struct play *p, char *line)
{
    if (line[0] == 'S') {
        if (p->way == WAY_BYTES) /* first the line without its end, which must say nothing final yet */
            assert_true(p->event_first <= p->event_last);
        vr_buf_add(&p->said, unescape(line + 2));
        vr_buf_add(&p->said, VR_STR("\r\n"));
        if (p->way != WAY_RUNS)
            say_run(p);
        return;
    }
    say_run(p);
    if (line[0] == 'C')
        client_must_have_said(p, line + 2);
    else if (line[0] == 'E')
        event_must_be(p, line + 2);
    else if (line[0] == '!')
        owner_does(p, line + 1);
    else if (line[0] != '#')
        fail_msg("what is this: %s", line);
}

static inline void play_begin(struct play *p, enum way way)
{
    memset(p, 0, sizeof *p);
    p->way = way;
    p->now = 1000;
    p->config.helo_name = VR_STR("me.example");
    memcpy(p->config.nonce, "abcdefghijklmnopqr", 18);
    p->config.trace = way == WAY_TRACE;
    vr_buf_init(&p->said, 1 << 20);
}

static inline void play_end(struct play *p)
{
    smtp_client_free(p->client);
    vr_buf_fini(&p->said);
}

/* Runs the dialogue up to its server_line-th S (SIZE_MAX: all). False when it has fewer. */
static inline bool run_until(struct play *p, const char *dialogue, size_t server_line)
{
    struct vr_str rest = vr_str_from(dialogue), one;
    while (vr_str_split(&rest, '\n', &one)) {
        char line[LINE];
        snprintf(line, sizeof line, "%.*s", VR_STR_ARG(one));
        p->where = one.p;
        if (line[0] == '\0')
            continue;
        if (line[0] == '@') {
            configure(p, line + 1);
            continue;
        }
        if (p->client == NULL)
            p->client = smtp_client_new(&p->config, p->now), bind_channel(p);
        if (line[0] == 'S' && server_line-- == 0)
            return true;
        step(p, line);
    }
    say_run(p);
    return false;
}

static inline void run_all_ways(const char *dialogue)
{
    for (enum way way = WAY_LINES; way < WAY_COUNT; way++) {
        struct play p;
        play_begin(&p, way);
        run_until(&p, dialogue, SIZE_MAX);
        if (p.event_first < p.event_last)
            fail_msg("an event too much: %s\nin %s", p.events[p.event_first], dialogue);
        if (smtp_client_pending(p.client).n > 0)
            fail_msg("said too much: %.*s\nin %s", VR_STR_ARG(smtp_client_pending(p.client)), dialogue);
        play_end(&p);
    }
}

static inline void run_table(const char *const *dialogues, size_t n)
{
    for (size_t i = 0; i < n; i++)
        run_all_ways(dialogues[i]);
}
#define RUN(table) run_table(table, sizeof(table) / sizeof *(table))

/* ---- good dialogues, broken at every line of the server --------------------------------------------------------------- */

static inline const char *last_event(const struct play *p)
{
    return p->event_last > 0 ? p->events[p->event_last - 1] : "none";
}

static inline bool waits_for_quit(const struct play *p)
{
    return smtp_client_deadline(p->client) - p->now == 30000;
}

static inline void break_eof(struct play *p)
{
    bool quit = waits_for_quit(p);
    smtp_client_eof(p->client);
    pump(p);
    assert_true(p->over);
    assert_ptr_equal(strstr(last_event(p), quit ? "CLOSED" : "FAILED 0 4.4.2"), last_event(p));
}

static inline void break_421(struct play *p)
{
    bool quit = waits_for_quit(p);
    feed(p, VR_STR("421 4.3.2 going down\r\n"));
    assert_true(p->over || p->config.tls == SMTP_CLIENT_TLS_NONE);
    assert_ptr_equal(strstr(last_event(p), quit ? "CLOSED" : "FAILED 421 4.3.2"), last_event(p));
}

static inline void break_silence(struct play *p)
{
    int64_t deadline = smtp_client_deadline(p->client);
    assert_true(deadline < INT64_MAX);
    smtp_client_tick(p->client, deadline);
    pump(p);
    assert_ptr_equal(strstr(last_event(p), "FAILED 0 4.4.2"), last_event(p));
    assert_non_null(strstr(last_event(p), "timed out"));
}

static inline void break_rubbish(struct play *p, struct vr_str rubbish)
{
    feed(p, rubbish);
    assert_true(p->over);
    assert_ptr_equal(strstr(last_event(p), "FAILED 0 4.5.0"), last_event(p));
}

/* A break in the middle of a multi-line reply is rubbish for 421, too. */
static inline bool in_multiline(const char *dialogue, size_t server_line)
{
    const char *before = NULL;
    struct vr_str rest = vr_str_from(dialogue), one;
    while (vr_str_split(&rest, '\n', &one))
        if (one.n > 0 && one.p[0] == 'S') {
            if (server_line-- == 0)
                return before != NULL && before[5] == '-';
            before = one.p;
        }
    return false;
}

/* The breaks that were tried. */
static inline size_t broken_everywhere(const char *const *good, size_t n)
{
    static const struct vr_str rubbish[] = {VR_STR_INIT("199 x\r\n"),
                                            VR_STR_INIT("600 x\r\n"),
                                            VR_STR_INIT("25\r\n"),
                                            VR_STR_INIT("250+x\r\n"),
                                            VR_STR_INIT("\r\n"),
                                            VR_STR_INIT("\n"),
                                            VR_STR_INIT("\0\0\0\n"),
                                            VR_STR_INIT("-50 x\r\n"),
                                            VR_STR_INIT("2500 x\r\n"),
                                            VR_STR_INIT("HTTP/1.1 400 Bad Request\r\n"),
                                            VR_STR_INIT("250-a\r\n251 b\r\n")};
    size_t breaks = 0;
    for (size_t d = 0; d < n; d++)
        for (size_t line = 0;; line++) {
            struct play p;
            bool more = true;
            for (size_t how = 0; more && how < 3 + sizeof rubbish / sizeof *rubbish; how++) {
                play_begin(&p, how % 2 ? WAY_BYTES : WAY_LINES);
                more = run_until(&p, good[d], line);
                if (more && how == 0)
                    break_eof(&p);
                else if (more && how == 1 && !in_multiline(good[d], line))
                    break_421(&p);
                else if (more && how == 2)
                    break_silence(&p);
                else if (more && how > 2)
                    break_rubbish(&p, rubbish[how - 3]);
                breaks += more;
                play_end(&p);
            }
            if (!more)
                break;
        }
    return breaks;
}

#endif
