/* opendkim.h - the same work done by libopendkim, for bench_auth. */
#ifndef BENCH_OPENDKIM_H
#define BENCH_OPENDKIM_H

#include <veredus/base.h>

struct opendkim;
/* record: of "s1._domainkey.example.com"; it is put into a file in TMPDIR or /tmp, where libopendkim looks it up. NULL: it was not built in. */
struct opendkim *opendkim_new(const char *pem, struct vr_str record);
void opendkim_free(struct opendkim *o);
/* relaxed/relaxed, rsa-sha256, d=example.com, s=s1. An assertion when it fails. */
void opendkim_sign(struct opendkim *o, struct vr_str message);
void opendkim_verify(struct opendkim *o, struct vr_str message);

#endif
