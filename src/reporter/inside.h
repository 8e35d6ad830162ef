/* inside.h - what the files of the reporter share.
 *
 *   reporter.c   the process: frames in, one domain after the other when its period is over
 *   counts.c     the data base
 *   job.c        the reports of one domain: where to, what, then one destination after the other
 *   content.c    rows become XML or JSON, and a message
 *   failures.c   failure reports, each at once
 *   outbox.c     a message is signed and given to the queue, or a report POSTed
 */
#ifndef REPORTER_INSIDE_H
#define REPORTER_INSIDE_H

#include "io/http.h"
#include "ipc/process.h"
#include "ipc/resolving.h"
#include "reporter/counts.h"

#include <veredus/dkim.h>
#include <veredus/dmarc_report.h>
#include <veredus/report.h>

#define REPORT_MESSAGE_MAX                                                                                   \
    (1u << 20) /* octets of a message with a report, and of its envelope: well within a frame */
#define REPORT_CONTENT_MAX (16u << 20)
#define REPORT_ATTEMPTS    6  /* then it is given up */
#define REPORT_LIST_MAX    32 /* destinations of a report */

struct job;
struct failures;

struct reporter {
    struct process *process;
    const struct config *config;
    struct io *io;
    struct event_log *log;
    struct counts *counts;
    struct resolving *resolving;
    struct io_http *http; /* NULL: no https */
    struct io_timer *tick;
    struct job *job;           /* under way, or NULL */
    struct failures *failures; /* NULL: they are off, or this is the last turn of the loop */
    uint64_t last_id, last_ask;
    int64_t interval, delay;                       /* seconds: of a period, and behind its end */
    uint64_t ignored;                              /* frames beyond a bound since the log was told */
    struct vr_str from, from_domain, organization; /* of all reports */
    struct vr_arena arena;
};

enum outcome { SENT, LATER, NEVER };

/* ---- a message or POST under way (outbox.c) ------------------------------------------------------------------- */

struct outbox {
    struct reporter *reporter;
    void (*done)(void *arg, enum outcome o, const char *why);
    void *arg;
    enum { OUT_IDLE, OUT_WHO, OUT_SIGN, OUT_QUEUE, OUT_POST, OUT_DONE } step;
    enum outcome outcome; /* OUT_DONE */
    const char *why;
    bool must_sign, again;
    bool null_path; /* from <>, not from reports.from; set once */
    uint8_t asks;   /* enum envelope_asks */
    uint64_t ask;   /* of the keeper, or the queue's id */
    struct vr_arena arena;
    struct vr_buf message, prefix;
    struct vr_str to;
    struct mail_digest *digest;
    struct dkim_unsigned fields[IPC_SIGNERS_MAX];
    size_t field_count;
    struct io_http_call *call;
    struct io_timer *timer; /* the end of patience, and the way out of a call that failed at once */
};
void outbox_init(struct outbox *o, struct reporter *r,
                 void (*done)(void *arg, enum outcome o, const char *why), void *arg);
void outbox_fini(struct outbox *o);
/* The message stands in o->message. done comes once, never from inside. */
void outbox_mail(struct outbox *o, struct vr_str to, bool must_sign, uint8_t asks);
void outbox_post(struct outbox *o, struct vr_str url, struct vr_str gzip);
void outbox_frame(struct outbox *o, uint16_t type,
                  struct vr_str payload);               /* IPC_SIGNERS, IPC_SIGNED, IPC_SUBMITTED */
void outbox_lost(struct outbox *o, enum ipc_role role); /* such a peer is gone */

/* ---- what is reported (content.c) -------------------------------------------------------------------------------- */

struct content {
    struct vr_str id; /* of the report */
    struct vr_buf gzip;
    uint64_t sessions, failed; /* messages; TLS: of these, failed */
    struct dmarc_report dmarc; /* without rows: for the message */
    struct tlsrpt_report tls;
};
/* record: DMARC, read. False: it does not fit, or there is nothing to tell. Slices are in the arena. */
bool content_make(struct reporter *r, struct vr_arena *arena, const struct counts_domain *d,
                  const struct dmarc_record *record, struct content *out);
bool content_message(const struct reporter *r, const struct counts_domain *d, const struct content *c,
                     struct vr_str to, struct vr_buf *out);

/* ---- a domain's reports (job.c) ------------------------------------------------------------------------------------- */

/* Begins the next one that is due. False: there is none. job_ended frees it and calls reporter_next. */
bool job_begin(struct reporter *r);
void job_free(struct job *j); /* as it is: its counts stay */
struct outbox *job_outbox(struct job *j);
void reporter_next(struct reporter *r);

/* ---- failure reports (failures.c) ----------------------------------------------------------------------------------- */

struct failures *failures_new(struct reporter *r);
void failures_free(struct failures *f); /* NULL is fine */
/* The payload of an IPC_FAILURE_SEEN. False: it is none. */
bool failures_take(struct failures *f, struct vr_str payload);
void failures_next(struct failures *f); /* a peer came */
struct outbox *failures_outbox(struct failures *f);

#endif
