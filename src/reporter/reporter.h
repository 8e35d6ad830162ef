/* reporter.h - the process that tells owners of domains what was seen of them (DMARC aggregate reports, TLS reports). */
#ifndef REPORTER_REPORTER_H
#define REPORTER_REPORTER_H

#include "ipc/process.h"

extern const struct process_ops reporter_ops;

#endif
