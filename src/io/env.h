/* env.h - what surrounds the process: environment variables, what a descriptor leads to. */
#ifndef IO_ENV_H
#define IO_ENV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

const char *io_env(const char *name); /* NULL when unset */
bool io_is_terminal(int fd);
bool io_is_coloured(int fd); /* a terminal that shows colours, and nobody set NO_COLOR to something */
bool io_is_journal(int fd);  /* leads to systemd's journal itself, see JOURNAL_STREAM in systemd.exec(5) */
unsigned io_core_count(void); /* processors this process may use, at least 1 */
void io_env_random(void *out, size_t n); /* where there is no loop */
int64_t io_env_clock_us(void); /* wall clock where there is no loop: microseconds since 1970 */

#endif
