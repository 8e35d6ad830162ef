/* env.h - what surrounds the process: environment variables, whether a descriptor is a terminal. */
#ifndef IO_ENV_H
#define IO_ENV_H

#include <stdbool.h>
#include <stdint.h>

const char *io_env(const char *name); /* NULL when unset */
bool io_is_terminal(int fd);
unsigned io_core_count(void); /* processors this process may use, at least 1 */
int64_t io_env_clock_us(void); /* wall clock where there is no loop: microseconds since 1970 */

#endif
