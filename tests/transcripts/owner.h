/* owner.h - who answers the engine's questions in a transcript: the mail system of d.test in two hundred lines. */
#ifndef TESTS_OWNER_H
#define TESTS_OWNER_H

#include <veredus/sasl.h>
#include <veredus/smtp_server.h>

struct owner {
    struct smtp_server *engine;
    int64_t now_ms;
    struct vr_arena arena;    /* of the transaction: what the engine's slices say is copied */
    struct vr_buf to, params; /* of the transaction, as the facts write them */
    struct vr_str from;
    bool binary;          /* BODY=BINARYMIME: any byte may stand in the text */
    struct vr_buf client; /* what XCLIENT said, for the rest of the session */
    bool late[1000];      /* LMTP: is this accepted recipient's mailbox full at the end? */
    unsigned rcpts, answered;
    struct vr_buf body;
    struct vr_buf
        facts; /* "message from=… to=…\n" then "body …\n" for each line, of every message accepted */
    unsigned messages;
    struct sasl_server *sasl;
    struct vr_str mechanisms; /* that are offered */
    bool closed, secure;
    bool has_reply, has_challenge; /* an answer that is decided, but not yet given */
    struct smtp_reply reply;
    struct vr_str challenge;
};

void owner_init(struct owner *o, struct smtp_server *engine);
void owner_fini(struct owner *o);
/* Decides about one event. The answer, if it wants one, waits for owner_give. */
void owner_hear(struct owner *o, enum smtp_server_event_kind kind, const struct smtp_server_event *ev);
/* Gives the answer that waits. */
void owner_give(struct owner *o);

#endif
