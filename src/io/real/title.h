/* title.h - the process's name in ps(1). Internal to src/io/real/. */
#ifndef IO_REAL_TITLE_H
#define IO_REAL_TITLE_H

void process_title_set(const char *title); /* "receiver" → "veredus: receiver" */

#endif
