/* send_engine.c - the SMTP client engine of libveredus without a network: a scripted server answers, both sides are printed.
 *
 * The engine asks for nothing but bytes: a real client connects, feeds what it reads, writes what pending() shows, and obeys the events. Here
 * the "server" is a list of replies, given out one step at a time.
 */
#include <veredus/smtp_client.h>

#include <stdio.h>

/* What the server says, each time that the client has said all it had to say. */
static const char *const script[] = {
    "220 mail.example.org ESMTP\r\n",
    "250-mail.example.org\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250 8BITMIME\r\n",
    "250 2.1.0 sender ok\r\n250 2.1.5 recipient ok\r\n550 5.1.1 no such user\r\n354 send the message\r\n",
    "250 2.0.0 queued as 4711\r\n",
    "221 2.0.0 goodbye\r\n",
};

static const char message[] = "From: alice@client.example\r\n"
                              "To: bob@example.org, eve@example.org\r\n"
                              "Subject: lunch\r\n"
                              "\r\n"
                              "At noon?\r\n"
                              ".. the dots are part of the message\r\n";

static const struct smtp_mail mail = {
    .reverse_path = {.local = VR_STR_INIT("alice"), .domain = VR_STR_INIT("client.example")},
    .size = sizeof message - 1};
static const struct smtp_rcpt rcpts[] = {
    {.forward_path = {.local = VR_STR_INIT("bob"), .domain = VR_STR_INIT("example.org")}},
    {.forward_path = {.local = VR_STR_INIT("eve"), .domain = VR_STR_INIT("example.org")}}};

static void print_lines(const char *side, struct vr_str text)
{
    struct vr_str line;
    while (vr_str_split(&text, '\n', &line))
        printf("%s %.*s\n", side, VR_STR_ARG(vr_str_trim(line)));
}

static void print_verdict(const char *on, const struct smtp_client_event *ev)
{
    printf("   %s: %s: %.*s\n", on, ev->code >= 200 && ev->code < 300 ? "yes" : "no", VR_STR_ARG(ev->text));
}

/* Obeys one event. True when the session is over; *sent tells whether the message was taken, *mailed whether it was tried. */
static bool obey(struct smtp_client *client, enum smtp_client_event_kind kind,
                 const struct smtp_client_event *ev, bool *mailed, bool *sent)
{
    const int64_t now_ms = 0; /* time is an argument: here it stands still */
    switch (kind) {
    case SMTP_CLIENT_READY: /* first for our message; then nothing is left to do */
        if (*mailed)
            smtp_client_quit(client, now_ms);
        else
            smtp_client_mail(client, &mail, rcpts, sizeof rcpts / sizeof *rcpts, now_ms);
        *mailed = true;
        return false;
    case SMTP_CLIENT_RCPT_RESULT:
        print_verdict(ev->index == 0 ? "bob" : "eve", ev);
        return false;
    case SMTP_CLIENT_BODY: /* in any pieces; the engine doubles the dots and ends the message */
        smtp_client_body(client, vr_str(message, sizeof message - 1), now_ms);
        smtp_client_body_end(client, now_ms);
        return false;
    case SMTP_CLIENT_RESULT:
        print_verdict("message", ev);
        *sent = ev->code >= 200 && ev->code < 300;
        return false;
    case SMTP_CLIENT_FAILED:
        printf("   failed at %s: %.*s\n", ev->command, VR_STR_ARG(ev->text));
        return true;
    case SMTP_CLIENT_CLOSED:
        return true;
    default: /* STARTTLS and REPLY: not asked for in the configuration, so they do not come */
        return false;
    }
}

/* Everything that the bytes so far lead to. True when the session is over. */
static bool run_events(struct smtp_client *client, bool *mailed, bool *sent)
{
    struct smtp_client_event ev;
    enum smtp_client_event_kind kind;
    while ((kind = smtp_client_next(client, &ev)) != SMTP_CLIENT_IDLE)
        if (obey(client, kind, &ev, mailed, sent))
            return true;
    return false;
}

int main(void)
{
    const struct smtp_client_config config = {.helo_name = VR_STR_INIT("client.example")};
    struct smtp_client *client = smtp_client_new(&config, 0);
    bool over = false, mailed = false, sent = false;
    if (client == NULL)
        return 1;
    for (size_t i = 0; !over && i < sizeof script / sizeof *script; i++) {
        struct vr_str reply = vr_str_from(script[i]);
        print_lines("S:", reply);
        smtp_client_feed(client, reply, 0);
        over = run_events(client, &mailed, &sent);
        struct vr_str out = smtp_client_pending(client); /* a real client writes this to its socket */
        print_lines("C:", out);
        smtp_client_sent(client, out.n);
    }
    smtp_client_free(client);
    return over && sent ? 0 : 1;
}
