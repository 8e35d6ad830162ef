/* client_inside.h - the client side's state, shared by client.c and client_scram.c. Not public. */
#ifndef SASL_CLIENT_INSIDE_H
#define SASL_CLIENT_INSIDE_H

#include "inside.h"

struct sasl_client {
    const struct sasl_mechanism *mechanism;
    const struct sasl_client_row *row;
    unsigned at;
    bool complete, plus_unseen;
    struct vr_buf user, password, token, host;
    uint16_t port;
    struct binding_room room;
    struct sasl_binding binding; /* in it */
    uint8_t nonce[SASL_NONCE_BYTES];
    uint8_t server_signature[SASL_HASH_MAX];
    struct scram_texts texts;
    struct vr_buf out, refusal;
};

typedef bool client_initial(struct sasl_client *c, struct vr_str *out);
typedef enum vr_err client_step(struct sasl_client *c, struct vr_str challenge, struct vr_str *out);
client_initial client_scram_initial;
client_step client_scram_step;

/* What the server said about its refusal, fit to be shown. */
void client_keep_refusal(struct sasl_client *c, struct vr_str text);

#endif
