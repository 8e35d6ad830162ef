/* server_engine.c - the SMTP server engine of libveredus without a network: a scripted client speaks, both sides are printed.
 *
 * The engine is fed bytes, asks its owner what needs a decision, and gathers bytes to send. A real server does the same with a socket:
 * feed() what was read, loop over next(), write what pending() shows.
 */
#include <veredus/smtp_server.h>

#include <stdio.h>

static const char *const script[] = {
    "EHLO client.example\r\n",
    ("MAIL FROM:<alice@client.example> SIZE=64\r\n"
     "RCPT TO:<bob@example.org>\r\nRCPT TO:<eve@elsewhere.example>\r\nDATA\r\n"),
    "Subject: lunch\r\n\r\nAt noon?\r\n..and bring a dot.\r\n.\r\n",
    "QUIT\r\n",
};

static void print_lines(const char *side, struct vr_str text)
{
    struct vr_str line;
    while (vr_str_split(&text, '\n', &line))
        printf("%s %.*s\n", side, VR_STR_ARG(vr_str_trim(line)));
}

/* We are example.org and take mail for it only. */
static struct smtp_reply judge(const struct address *to)
{
    if (vr_str_equal_nocase(to->domain, VR_STR("example.org")))
        return SMTP_REPLY(250, "2.1.5", "recipient ok");
    return SMTP_REPLY(554, "5.7.1", "relaying denied");
}

/* Obeys one event. True when the session is over. */
static bool obey(struct smtp_server *server, enum smtp_server_event_kind kind,
                 const struct smtp_server_event *ev)
{
    const int64_t now_ms = 0; /* time is an argument: here it stands still */
    switch (kind) {
    case SMTP_SERVER_EHLO:
        smtp_server_answer(server, SMTP_REPLY(250, NULL, "mail.example.org"), now_ms);
        break;
    case SMTP_SERVER_MAIL:
        smtp_server_answer(server, SMTP_REPLY(250, "2.1.0", "sender ok"), now_ms);
        break;
    case SMTP_SERVER_RCPT:
        smtp_server_answer(server, judge(&ev->rcpt->forward_path), now_ms);
        break;
    case SMTP_SERVER_DATA:
        smtp_server_answer(server, SMTP_REPLY(354, NULL, "go on"), now_ms);
        break;
    case SMTP_SERVER_CHUNK: /* pieces of the message, dots undone: a server would write them to its queue */
        print_lines("   message:", ev->data);
        break;
    case SMTP_SERVER_DATA_END:
        if (ev->refusal.code == 0) /* else the engine has refused the message itself, and said so */
            smtp_server_answer(server, SMTP_REPLY(250, "2.0.0", "message accepted"), now_ms);
        break;
    case SMTP_SERVER_CLOSE:
        return true;
    default: /* RESET, COMMAND_REFUSED: nothing to do here. VRFY, AUTH and STARTTLS are not offered, so they do not come */
        break;
    }
    return false;
}

int main(void)
{
    const struct smtp_server_config config = {
        .hostname = VR_STR("mail.example.org"), .size_max = 1000000, .rcpt_max = 100};
    struct smtp_server *server = smtp_server_new(&config, false, 0);
    if (server == NULL)
        return 1;
    smtp_server_greet(server, SMTP_REPLY(220, NULL, "ready"));
    bool over = false;
    for (size_t i = 0; !over; i++) {
        struct vr_str out = smtp_server_pending(server);
        print_lines("S:", out);
        smtp_server_sent(server, out.n);
        if (i == sizeof script / sizeof *script)
            break;
        print_lines("C:", vr_str_from(script[i]));
        smtp_server_feed(server, vr_str_from(script[i]), 0);
        struct smtp_server_event ev;
        enum smtp_server_event_kind kind;
        while (!over && (kind = smtp_server_next(server, &ev)) != SMTP_SERVER_IDLE)
            over = obey(server, kind, &ev);
    }
    print_lines("S:", smtp_server_pending(server));
    smtp_server_free(server);
    return over ? 0 : 1;
}
