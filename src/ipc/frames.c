/* frames.c - the table of frames: who may send what to whom. */
#include "ipc/ipc.h"

#define CHILDREN                                                                                             \
    (IPC_RECEIVER | IPC_KEEPER | IPC_QUEUE | IPC_SENDER | IPC_LOCAL | IPC_ADMIN | IPC_PAM | IPC_REPORTER |   \
     IPC_RESOLVER | IPC_WEB)
#define DELIVERER (IPC_SENDER | IPC_LOCAL)

const struct ipc_frame_row ipc_frames[] = {
    {IPC_READY, "ready", CHILDREN, IPC_SUPERVISOR, false},
    {IPC_ATTACH, "attach", IPC_SUPERVISOR, CHILDREN, true},
    {IPC_EXPECT, "expect", IPC_SUPERVISOR, IPC_QUEUE, false},
    {IPC_CERTIFICATE, "certificate", IPC_SUPERVISOR, IPC_RECEIVER | IPC_WEB | IPC_ADMIN, false},
    {IPC_DRAIN, "drain", IPC_SUPERVISOR, CHILDREN, false},
    {IPC_BODY_OPEN, "body-open", IPC_RECEIVER, IPC_QUEUE, false},
    {IPC_BODY_FILE, "body-file", IPC_QUEUE, IPC_RECEIVER, true},
    {IPC_BODY_DROP, "body-drop", IPC_RECEIVER, IPC_QUEUE, false},
    {IPC_SUBMIT, "submit", IPC_RECEIVER | IPC_REPORTER, IPC_QUEUE, false},
    {IPC_SUBMITTED, "submitted", IPC_QUEUE, IPC_RECEIVER | IPC_REPORTER, false},
    {IPC_FLUSH, "flush", IPC_RECEIVER, IPC_QUEUE, false},
    {IPC_FLUSHED, "flushed", IPC_QUEUE, IPC_RECEIVER, false},
    {IPC_SASL_START, "sasl-start", IPC_RECEIVER, IPC_KEEPER, false},
    {IPC_SASL_STEP, "sasl-step", IPC_RECEIVER, IPC_KEEPER, false},
    {IPC_SASL_ABORT, "sasl-abort", IPC_RECEIVER, IPC_KEEPER, false},
    {IPC_SASL_CHALLENGE, "sasl-challenge", IPC_KEEPER, IPC_RECEIVER, false},
    {IPC_SASL_DONE, "sasl-done", IPC_KEEPER, IPC_RECEIVER, false},
    {IPC_MAILBOX_ASK, "mailbox-ask", IPC_RECEIVER | IPC_LOCAL, IPC_KEEPER, false},
    {IPC_SENDER_ASK, "sender-ask", IPC_RECEIVER, IPC_KEEPER, false},
    {IPC_ANSWER, "answer", IPC_KEEPER, IPC_RECEIVER | IPC_LOCAL, false},
    {IPC_PAM_ASK, "pam-ask", IPC_KEEPER, IPC_PAM, false},
    {IPC_PAM_ANSWER, "pam-answer", IPC_PAM, IPC_KEEPER, false},
    {IPC_SIGNERS_ASK, "signers-ask", IPC_RECEIVER | IPC_REPORTER, IPC_KEEPER, false},
    {IPC_SIGNERS, "signers", IPC_KEEPER, IPC_RECEIVER | IPC_REPORTER, false},
    {IPC_SIGN_ASK, "sign-ask", IPC_RECEIVER | IPC_REPORTER, IPC_KEEPER, false},
    {IPC_SIGNED, "signed", IPC_KEEPER, IPC_RECEIVER | IPC_REPORTER, false},
    {IPC_DELIVER, "deliver", IPC_QUEUE, DELIVERER, true},
    {IPC_RESULT, "result", DELIVERER, IPC_QUEUE, false},
    {IPC_INFLIGHT, "inflight", DELIVERER, IPC_QUEUE, false},
    {IPC_CONTROL, "control", IPC_ADMIN, IPC_QUEUE, false},
    {IPC_CONTROL_PART, "control-part", IPC_QUEUE, IPC_ADMIN, false},
    {IPC_CONTROL_TAKEN, "control-taken", IPC_ADMIN, IPC_QUEUE, false},
    {IPC_CONTROL_CANCEL, "control-cancel", IPC_ADMIN, IPC_QUEUE, false},
    {IPC_DNS_ASK, "dns-ask", IPC_RECEIVER | IPC_REPORTER, IPC_RESOLVER, false},
    {IPC_DNS_ANSWERS, "dns-answers", IPC_RESOLVER, IPC_RECEIVER | IPC_REPORTER, false},
    {IPC_STS_ASK, "sts-ask", IPC_SENDER, IPC_RESOLVER, false},
    {IPC_STS_POLICY, "sts-policy", IPC_RESOLVER, IPC_SENDER, false},
    {IPC_DMARC_SEEN, "dmarc-seen", IPC_RECEIVER, IPC_REPORTER, false},
    {IPC_TLS_SEEN, "tls-seen", IPC_SENDER, IPC_REPORTER, false},
    {IPC_FAILURE_SEEN, "failure-seen", IPC_RECEIVER, IPC_REPORTER, false},
};
const size_t ipc_frame_count = sizeof ipc_frames / sizeof *ipc_frames;

static const struct {
    enum ipc_role role;
    const char *name;
} roles[] = {
    {IPC_SUPERVISOR, "supervisor"}, {IPC_RECEIVER, "receiver"}, {IPC_KEEPER, "keeper"}, {IPC_QUEUE, "queue"},
    {IPC_SENDER, "sender"},         {IPC_LOCAL, "local"},       {IPC_ADMIN, "admin"},   {IPC_PAM, "pam"},
    {IPC_REPORTER, "reporter"},     {IPC_RESOLVER, "resolver"}, {IPC_WEB, "web"},
};

const char *ipc_role_name(enum ipc_role r)
{
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (roles[i].role == r)
            return roles[i].name;
    return "nobody";
}

bool ipc_allowed(uint16_t type, enum ipc_role from, enum ipc_role to, bool has_fd)
{
    for (size_t i = 0; i < ipc_frame_count; i++) {
        const struct ipc_frame_row *row = &ipc_frames[i];
        if (row->type == type)
            return (row->from & from) && (row->to & to) && (!has_fd || row->with_fd);
    }
    return false;
}
